//! A PostgreSQL database for one test.

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use url::Url;

/// A database of its own, on the server that `RESERVOIR_TEST_POSTGRES` names.
#[derive(Debug)]
pub struct TestDatabase {
    server: Url,
    name: String,
}

impl TestDatabase {
    /// Creates an empty database.
    pub async fn create() -> Self {
        Self::made("").await
    }

    /// Creates another one with the same content; nobody may be connected to this one meanwhile.
    pub async fn copy(&self) -> Self {
        Self::made(&format!(" TEMPLATE {}", self.name)).await
    }

    async fn made(how: &str) -> Self {
        let server = std::env::var("RESERVOIR_TEST_POSTGRES")
            .expect("RESERVOIR_TEST_POSTGRES names no PostgreSQL server; run scripts/test, which starts one");
        let server: Url = server.parse().expect("RESERVOIR_TEST_POSTGRES is a postgres:// address");
        let database = Self { server, name: format!("reservoir_test_{}", uuid::Uuid::new_v4().simple()) };
        database.execute(format!("CREATE DATABASE {}{how}", database.name)).await;
        database
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.into()
    }

    /// Drops it, whoever is still connected.
    pub async fn remove(self) {
        self.execute(format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    async fn execute(&self, statement: String) {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(self.server.as_str())
            .await
            .expect("the server of RESERVOIR_TEST_POSTGRES answers; run scripts/test, which starts it");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .expect("databases may be created");
        connection.close().await.expect("the connection closes");
    }
}
