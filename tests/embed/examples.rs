//! The examples of `examples/` show what they say. They are modules here, so that they are linked once.

#[allow(dead_code, reason = "nobody calls its main")]
#[path = "../../examples/life_cycle.rs"]
mod life_cycle;
#[allow(dead_code, reason = "nobody calls its main")]
#[path = "../../examples/mounted.rs"]
mod mounted;
#[allow(dead_code, reason = "nobody calls its main")]
#[path = "../../examples/sqlite_exporter.rs"]
mod sqlite_exporter;

#[tokio::test]
async fn a_tokio_service_has_the_life_cycle_without_http() {
    life_cycle::run().await.unwrap();
}

#[tokio::test]
async fn a_host_exports_the_rows_of_its_database() {
    sqlite_exporter::run().await.unwrap();
}

#[actix::test]
async fn a_host_mounts_the_routes_beside_its_own() {
    mounted::run().await.unwrap();
}
