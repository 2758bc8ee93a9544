//! What every [`ArtifactLifecycle`] must do.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a conformance suite reports by panicking"
)]

use crate::{
    catalog::{Fence, RepositoryId},
    error::{Error, ErrorKind},
    lifecycle::{
        ArtifactLifecycle, NewRevision, Revision, RevisionId, Status, TRANSITIONS, Transition, is_allowed,
    },
    name::Actor,
};

/// What the suite runs on.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The implementation.
    pub lifecycle: &'a dyn ArtifactLifecycle,
    /// A repository without revisions.
    pub repository: RepositoryId,
    /// A fence that holds.
    pub held: Fence,
    /// A fence that was lost to another holder.
    pub lost: Fence,
}

/// Runs all of it.
pub async fn suite(subject: &Subject<'_>) {
    registering_twice_changes_nothing(subject).await;
    every_allowed_change_is_made_and_every_other_refused(subject).await;
    only_the_first_of_two_wins(subject).await;
    a_late_attempt_is_refused(subject).await;
    all_or_none(subject).await;
    a_lost_fence_changes_nothing(subject).await;
    watchers_are_told_after_the_change(subject).await;
    unknown_revisions_are_not_found(subject).await;
}

fn actor() -> Actor {
    "tester".parse().unwrap()
}

fn named(artifact: &str, revision: &str) -> NewRevision {
    NewRevision { artifact: artifact.parse().unwrap(), revision: revision.parse().unwrap() }
}

async fn new(subject: &Subject<'_>, artifact: &str) -> Revision {
    let id =
        subject.lifecycle.register(subject.repository, &[named(artifact, "1.0")], &actor()).await.unwrap()[0];
    subject.lifecycle.revision(id).await.unwrap()
}

fn change(revision: &Revision, to: Status) -> Transition {
    Transition {
        revision: revision.id,
        from: revision.status,
        attempt: revision.attempt,
        to,
        actor: actor(),
        reason: format!("because of {to}"),
    }
}

/// Brings a new revision to `target` along the shortest way that the table has.
async fn brought_to(subject: &Subject<'_>, artifact: &str, target: Status) -> Revision {
    let mut revision = new(subject, artifact).await;
    let mut ways = vec![vec![Status::Scanned]];
    let way = loop {
        let way = ways.remove(0);
        let last = *way.last().unwrap();
        if last == target {
            break way;
        }
        ways.extend(TRANSITIONS.iter().filter(|(from, to)| *from == last && !way.contains(to)).map(
            |(_, to)| {
                let mut longer = way.clone();
                longer.push(*to);
                longer
            },
        ));
    };
    for to in &way[1..] {
        revision = subject.lifecycle.transition(&[change(&revision, *to)], None).await.unwrap().remove(0);
    }
    revision
}

/// A revision that is known keeps its id, status and history.
pub async fn registering_twice_changes_nothing(subject: &Subject<'_>) {
    let revisions = [named("twice", "2"), named("twice", "1"), named("other", "1")];
    let first = subject.lifecycle.register(subject.repository, &revisions, &actor()).await.unwrap();
    let again = subject.lifecycle.register(subject.repository, &revisions, &actor()).await.unwrap();
    assert_eq!(first, again);
    for (id, wanted) in first.iter().zip(&revisions) {
        let revision = subject.lifecycle.revision(*id).await.unwrap();
        assert_eq!(
            (revision.artifact, revision.revision),
            (wanted.artifact.clone(), wanted.revision.clone())
        );
        assert_eq!(revision.status, Status::Scanned);
        let history = subject.lifecycle.history(*id).await.unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!((history[0].from, history[0].to), (None, Status::Scanned));
    }
}

/// The table is the law, in both directions, and each change writes one line of history.
pub async fn every_allowed_change_is_made_and_every_other_refused(subject: &Subject<'_>) {
    for from in Status::ALL {
        for to in Status::ALL {
            let before = brought_to(subject, &format!("from-{from}-to-{to}"), from).await;
            let history = subject.lifecycle.history(before.id).await.unwrap();
            let changed = subject.lifecycle.transition(&[change(&before, to)], None).await;
            let after = subject.lifecycle.revision(before.id).await.unwrap();
            let longer = subject.lifecycle.history(before.id).await.unwrap();
            if is_allowed(from, to) {
                assert_eq!(changed.unwrap(), std::slice::from_ref(&after));
                assert_eq!(after.status, to);
                let anew = to == Status::Scanned || (from, to) == (Status::Failed, Status::Pulling);
                assert_eq!(after.attempt, before.attempt + i64::from(anew), "{from} -> {to}");
                assert_eq!(longer.len(), history.len() + 1);
                let line = longer.last().unwrap();
                assert_eq!((line.from, line.to, line.attempt), (Some(from), to, after.attempt));
                assert_eq!((line.actor.clone(), line.reason.clone()), (actor(), format!("because of {to}")));
            } else {
                assert!(
                    matches!(changed, Err(Error::InvalidState { from: f, to: t, .. }) if f == from && t == to),
                    "{from} -> {to}: {changed:?}"
                );
                assert_eq!(after, before);
                assert_eq!(longer, history);
            }
        }
    }
}

/// Two that saw the same state cannot both change it.
pub async fn only_the_first_of_two_wins(subject: &Subject<'_>) {
    let seen = brought_to(subject, "race", Status::NeedsApproval).await;
    let (yes, no) = ([change(&seen, Status::Available)], [change(&seen, Status::Rejected)]);
    let (yes, no) =
        futures::join!(subject.lifecycle.transition(&yes, None), subject.lifecycle.transition(&no, None));
    let after = subject.lifecycle.revision(seen.id).await.unwrap();
    match (yes, no) {
        (Ok(_), Err(Error::Conflict { .. })) => assert_eq!(after.status, Status::Available),
        (Err(Error::Conflict { .. }), Ok(_)) => assert_eq!(after.status, Status::Rejected),
        other => panic!("exactly one must win: {other:?}"),
    }
}

/// A task of an older attempt changes nothing, even when the status is what it saw.
pub async fn a_late_attempt_is_refused(subject: &Subject<'_>) {
    let old = brought_to(subject, "late", Status::Pulling).await;
    let scanned =
        subject.lifecycle.transition(&[change(&old, Status::Scanned)], None).await.unwrap().remove(0);
    let anew =
        subject.lifecycle.transition(&[change(&scanned, Status::Pulling)], None).await.unwrap().remove(0);
    assert_eq!(anew.status, old.status);
    let late = subject.lifecycle.transition(&[change(&old, Status::Pulled)], None).await.unwrap_err();
    assert!(matches!(late, Error::Conflict { .. }), "{late:?}");
    assert_eq!(subject.lifecycle.revision(old.id).await.unwrap(), anew);
}

/// When one change of a batch is refused, none is made.
pub async fn all_or_none(subject: &Subject<'_>) {
    let (one, two) = (new(subject, "batch-one").await, new(subject, "batch-two").await);
    let stale = Transition { attempt: two.attempt + 7, ..change(&two, Status::Pulling) };
    subject.lifecycle.transition(&[change(&one, Status::Pulling), stale], None).await.unwrap_err();
    assert_eq!(subject.lifecycle.revision(one.id).await.unwrap(), one);
    assert_eq!(subject.lifecycle.history(one.id).await.unwrap().len(), 1);
    let both = [change(&one, Status::Pulling), change(&two, Status::Pulling)];
    let after = subject.lifecycle.transition(&both, None).await.unwrap();
    assert_eq!(after.iter().map(|revision| revision.id).collect::<Vec<_>>(), [one.id, two.id]);
}

/// What a fenced-out writer does is discarded.
pub async fn a_lost_fence_changes_nothing(subject: &Subject<'_>) {
    let revision = new(subject, "fenced").await;
    let lost = subject.lifecycle.transition(&[change(&revision, Status::Pulling)], Some(&subject.lost)).await;
    assert!(matches!(lost, Err(Error::Fenced { .. })), "{lost:?}");
    assert_eq!(subject.lifecycle.revision(revision.id).await.unwrap(), revision);
    subject.lifecycle.transition(&[change(&revision, Status::Pulling)], Some(&subject.held)).await.unwrap();
}

/// Watchers see what is durable, and nothing of what was refused.
pub async fn watchers_are_told_after_the_change(subject: &Subject<'_>) {
    let revision = new(subject, "watched").await;
    let mut events = subject.lifecycle.watch();
    subject.lifecycle.transition(&[change(&revision, Status::Available)], None).await.unwrap_err();
    subject.lifecycle.transition(&[change(&revision, Status::Pulling)], None).await.unwrap();
    let event = events.try_recv().unwrap();
    assert_eq!((event.from, event.revision.status), (Status::Scanned, Status::Pulling));
    assert_eq!(event.revision, subject.lifecycle.revision(revision.id).await.unwrap());
    assert!(events.try_recv().is_err());
}

/// Ids that nobody gave out.
pub async fn unknown_revisions_are_not_found(subject: &Subject<'_>) {
    let unknown = RevisionId(i64::MAX);
    assert_eq!(subject.lifecycle.revision(unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
    let revision = Revision { id: unknown, ..new(subject, "known").await };
    let changed = subject.lifecycle.transition(&[change(&revision, Status::Pulling)], None).await;
    assert_eq!(changed.unwrap_err().kind(), ErrorKind::NotFound);
}
