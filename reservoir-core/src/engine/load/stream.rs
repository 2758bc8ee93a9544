//! A bundle as it comes down a stream: in the order in which it was written, without anything to go back to.

use std::io::Read;

use super::{Loaded, check::Accepted, text};
use crate::{
    Engine, blocking,
    bundle::{self, Stage},
    engine::watch::Watcher,
    error::Result,
    name::Actor,
    task::{Progress, TaskContext},
};

impl Engine {
    /// A bundle as it comes down a stream.
    pub(super) async fn load_stream(
        &self,
        input: Box<dyn Read + Send>,
        dry_run: bool,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Loaded> {
        let mut tape = bundle::Tape::new(input);
        let (tape_back, document, signature) = blocking::run(move || {
            let document = tape.small(bundle::HEADER, bundle::header::LIMIT)?;
            let signature = tape.small(bundle::HEADER_SIGNATURE, bundle::SIGNATURE_LIMIT)?;
            Ok((tape, document, signature))
        })
        .await?;
        let mut tape = tape_back;
        let accepted = self.check_signature(document, text(signature)?).await?;
        let mut loaded = accepted.report();
        if self.check_place(&accepted, None).await? {
            loaded.already = true;
            self.discard(accepted.bundle);
            return Ok(loaded);
        }
        let is_begun = self.stage_folder(accepted.bundle).exists();
        let mut stage = self.open_stage(&accepted).await?;
        (stage, tape) = blocking::run(move || {
            for name in [bundle::RECORDS, bundle::OBJECTS] {
                tape.part(name, &mut stage)?;
            }
            Ok((stage, tape))
        })
        .await?;
        stage = self.prepare_stage(stage, &mut loaded).await?;
        let read = self.read_stream(&accepted, stage, tape, dry_run, task).await;
        if dry_run && !is_begun {
            self.discard(accepted.bundle);
        }
        let stage = read?;
        if dry_run {
            return Ok(loaded);
        }
        self.finish_load(accepted, stage, loaded, actor, task).await
    }

    /// Reads the stream to its end; what is only looked at is not kept.
    async fn read_stream(
        &self,
        accepted: &Accepted,
        mut stage: Stage,
        mut tape: bundle::Tape,
        dry_run: bool,
        task: &TaskContext,
    ) -> Result<Stage> {
        self.check_room(&stage, accepted)?;
        let watch = Watcher { task: task.clone() };
        task.report(Progress::Phase { name: "load", total: None });
        task.report(Progress::Expected { bytes: stage.left()? });
        let (mut stage, document, signature) = blocking::run(move || {
            for index in 1..=stage.header().volumes.count {
                if dry_run {
                    tape.pass_volume(index, &stage, &watch)?;
                } else {
                    tape.volume(index, &mut stage, &watch)?;
                }
            }
            tape.small(bundle::SUMS, bundle::trailer::LIMIT)?;
            let document = tape.small(bundle::TRAILER, bundle::trailer::LIMIT)?;
            let signature = tape.small(bundle::TRAILER_SIGNATURE, bundle::SIGNATURE_LIMIT)?;
            tape.end()?;
            Ok((stage, document, signature))
        })
        .await?;
        accepted.key.public.verify("`volumes.json`", &document, &text(signature)?)?;
        stage.take_trailer(&document)?;
        Ok(stage)
    }
}
