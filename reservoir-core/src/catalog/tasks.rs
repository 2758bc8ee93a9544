//! The journal of tasks.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json as object};
use sqlx::any::AnyRow;

use super::{
    Catalog, Fence, RepositoryId,
    rows::{Columns as _, built, json, plain, sql},
    write::Write,
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    name::Actor,
};

/// The catalog's id of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub i64);

impl TaskId {
    /// The lease that the runner of this task holds.
    #[must_use]
    pub fn lease(self) -> String {
        format!("task/{self}")
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self).map_err(|_| Error::invalid("task", format!("`{text}` is not a number")))
    }
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Waits for a runner.
    Queued,
    /// Somebody holds its lease and works.
    Running,
    /// Did everything.
    Succeeded,
    /// Did what it could; its result lists what is missing.
    Incomplete,
    /// Broke.
    Failed,
    /// Was told to stop.
    Cancelled,
    /// Its runner died.
    Interrupted,
}

impl TaskState {
    const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Incomplete,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// As written in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether nobody works on it nor will by itself.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TaskState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| Error::invalid("task state", format!("`{text}` is none")))
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What it does: `sync`, `gc`…
    pub kind: String,
    /// For which repository.
    pub repository: Option<RepositoryId>,
    /// Its arguments.
    pub payload: Value,
    /// Where it stands.
    pub state: TaskState,
    /// Who worked on it last.
    pub holder: Option<String>,
    /// The fencing token of that work.
    pub token: Option<i64>,
    /// Totals so far.
    pub progress: Value,
    /// Whether somebody asked it to stop.
    pub cancel_requested: bool,
    /// What broke.
    pub error: Option<String>,
    /// What it did.
    pub result: Option<Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only those that stand there.
    pub state: Option<TaskState>,
    /// Only those that do this.
    pub kind: Option<String>,
    /// Only those of this repository.
    pub repository: Option<RepositoryId>,
}

const COLUMNS: &str = "id, kind, repository, payload, state, holder, token, progress, cancel_requested, error, \
                       result, created_at, updated_at";

impl Catalog {
    /// Adds a task to the journal, queued. Not waited for: a machine that loses power has lost who wanted it, too.
    pub async fn create_task(
        &self,
        kind: &str,
        repository: Option<RepositoryId>,
        payload: &Value,
        actor: &Actor,
    ) -> Result<Task> {
        let mut write = self.write_relaxed("create a task").await?;
        let now = write.now().as_micros();
        let insert = built(format!(
            "INSERT INTO task (kind, repository, payload, state, progress, created_at, updated_at) \
             VALUES ($1, $2, $3, 'queued', '{{}}', $4, $4) RETURNING {COLUMNS}"
        ));
        let insert = insert.bind(kind).bind(repository.map(|id| id.0)).bind(json(payload)?).bind(now);
        let task = task(&write.one(insert).await?)?;
        let detail = object!({ "kind": kind, "repository": repository });
        write.audit(actor, "task.create", &task.id.lease(), &detail).await?;
        write.commit().await?;
        Ok(task)
    }

    /// Takes a task to work on it: a queued one, or one that ended short of success, again. `None` while
    /// another works on it. A cancel asked for before the first start still holds.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it succeeded already.
    pub async fn claim_task(&self, id: TaskId, holder: &str, ttl: Duration) -> Result<Option<(Task, Fence)>> {
        let mut write = self.write_relaxed("claim a task").await?;
        let before = write.task_row(id).await?;
        if before.state == TaskState::Succeeded {
            return Err(Error::Conflict {
                what: format!("task {id}"),
                detail: "it succeeded already".into(),
            });
        }
        let Some(fence) = write.take_lease(&id.lease(), holder, ttl).await? else {
            return Ok(None);
        };
        let cancel = before.cancel_requested && before.state == TaskState::Queued;
        let now = write.now().as_micros();
        let update = built(format!(
            "UPDATE task SET state = 'running', holder = $1, token = $2, cancel_requested = $3, error = NULL, \
             result = NULL, updated_at = $4 WHERE id = $5 RETURNING {COLUMNS}"
        ));
        let update = update.bind(holder).bind(fence.token).bind(i64::from(cancel)).bind(now).bind(id.0);
        let task = task(&write.one(update).await?)?;
        write.commit().await?;
        Ok(Some((task, fence)))
    }

    /// Writes a running task's totals.
    pub async fn update_task_progress(&self, id: TaskId, progress: &Value) -> Result<()> {
        let mut write = self.write_relaxed("update a task").await?;
        let now = write.now().as_micros();
        let update =
            sql("UPDATE task SET progress = $1, updated_at = $2 WHERE id = $3 AND state = 'running'");
        write.execute(update.bind(json(progress)?).bind(now).bind(id.0)).await?;
        write.commit().await
    }

    /// Ends a task and gives its lease back.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another works on it by now, [`Error::Invalid`] for a state that is no end.
    pub async fn finish_task(
        &self,
        id: TaskId,
        state: TaskState,
        result: Option<&Value>,
        error: Option<&str>,
        fence: &Fence,
    ) -> Result<()> {
        let write = self.fenced("finish a task", Some(fence)).await?;
        write.finish_task(id, state, result, error, fence).await
    }

    /// The same for a task whose work is durable already: its end is not waited for, and told as interrupted if the power
    /// goes now.
    pub(crate) async fn finish_settled_task(
        &self,
        id: TaskId,
        state: TaskState,
        result: Option<&Value>,
        fence: &Fence,
    ) -> Result<()> {
        let write = self.fenced_relaxed("finish a task", fence).await?;
        write.finish_task(id, state, result, None, fence).await
    }

    /// Asks a task to stop, from any process; `false` when it has ended already.
    pub async fn request_cancel(&self, id: TaskId, actor: &Actor) -> Result<bool> {
        let mut write = self.write("cancel a task").await?;
        if write.task_row(id).await?.state.is_finished() {
            return Ok(false);
        }
        let now = write.now().as_micros();
        let update = sql("UPDATE task SET cancel_requested = 1, updated_at = $1 WHERE id = $2");
        write.execute(update.bind(now).bind(id.0)).await?;
        write.audit(actor, "task.cancel", &id.lease(), &object!({})).await?;
        write.commit().await?;
        Ok(true)
    }

    /// Whether somebody asked a task to stop.
    pub async fn is_cancel_requested(&self, id: TaskId) -> Result<bool> {
        let query = sql("SELECT cancel_requested FROM task WHERE id = $1").bind(id.0);
        let row = self.optional("read a task", query).await?;
        row.ok_or_else(|| Error::not_found("task", id))?.flag("cancel_requested")
    }

    /// One task.
    pub async fn task(&self, id: TaskId) -> Result<Task> {
        let query = built(format!("SELECT {COLUMNS} FROM task WHERE id = $1")).bind(id.0);
        let row = self.optional("read a task", query).await?;
        task(&row.ok_or_else(|| Error::not_found("task", id))?)
    }

    /// Tasks, the newest first.
    pub async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<Vec<Task>> {
        let query = built(format!(
            "SELECT {COLUMNS} FROM task WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR kind = $2) \
             AND ($3 IS NULL OR repository = $3) ORDER BY id DESC LIMIT $4"
        ));
        let query = query.bind(filter.state.map(TaskState::as_str)).bind(filter.kind.as_deref());
        let query = query.bind(filter.repository.map(|id| id.0)).bind(i64::from(limit));
        self.all("list tasks", query).await?.iter().map(task).collect()
    }

    /// Marks running tasks whose runner is gone as interrupted; returns them.
    pub async fn reap_tasks(&self) -> Result<Vec<TaskId>> {
        let mut write = self.write_relaxed("reap tasks").await?;
        let rows = write.all(sql("SELECT id FROM task WHERE state = 'running' ORDER BY id")).await?;
        let mut reaped = Vec::new();
        for row in &rows {
            let id = TaskId(row.int("id")?);
            if write.is_held(&id.lease()).await? {
                continue;
            }
            let now = write.now().as_micros();
            let update = sql("UPDATE task SET state = 'interrupted', updated_at = $1 WHERE id = $2");
            write.execute(update.bind(now).bind(id.0)).await?;
            reaped.push(id);
        }
        write.commit().await?;
        Ok(reaped)
    }
}

impl Write {
    async fn finish_task(
        mut self,
        id: TaskId,
        state: TaskState,
        result: Option<&Value>,
        error: Option<&str>,
        fence: &Fence,
    ) -> Result<()> {
        if !state.is_finished() {
            return Err(Error::invalid("task state", format!("`{state}` is no end")));
        }
        let now = self.now().as_micros();
        let update =
            sql("UPDATE task SET state = $1, result = $2, error = $3, updated_at = $4 WHERE id = $5");
        let update = update.bind(state.as_str()).bind(result.map(json).transpose()?).bind(error.map(plain));
        if self.execute(update.bind(now).bind(id.0)).await? != 1 {
            return Err(Error::not_found("task", id));
        }
        self.drop_lease(fence).await?;
        self.commit().await
    }

    async fn task_row(&mut self, id: TaskId) -> Result<Task> {
        let row =
            self.optional(built(format!("SELECT {COLUMNS} FROM task WHERE id = $1")).bind(id.0)).await?;
        task(&row.ok_or_else(|| Error::not_found("task", id))?)
    }
}

fn task(row: &AnyRow) -> Result<Task> {
    Ok(Task {
        id: TaskId(row.int("id")?),
        kind: row.text("kind")?,
        repository: row.int_or_none("repository")?.map(RepositoryId),
        payload: row.decoded("payload")?,
        state: row.parsed("state")?,
        holder: row.text_or_none("holder")?,
        token: row.int_or_none("token")?,
        progress: row.decoded("progress")?,
        cancel_requested: row.flag("cancel_requested")?,
        error: row.text_or_none("error")?,
        result: row.decoded_or_none("result")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
