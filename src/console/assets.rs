//! The style sheet, the script and the icon. They are part of the program, and have the hash of their
//! content in their names: a browser may keep each for ever, and asks for another after an upgrade.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, Resource, web};
use sha2::{Digest, Sha256};

use super::PageResult;
use super::error::ConsoleError;

const FOLDER: &str = "/console/assets/";

/// The files of every page.
pub static ASSETS: LazyLock<ConsoleAssets> = LazyLock::new(|| ConsoleAssets {
    style: AssetFile::new("console", "css", "text/css; charset=utf-8", include_str!("assets/console.css")),
    script: AssetFile::new(
        "console",
        "js",
        "text/javascript; charset=utf-8",
        include_str!("assets/console.js"),
    ),
    icon: AssetFile::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")),
});

/// The files of every page.
pub struct ConsoleAssets {
    /// The style sheet.
    pub style: AssetFile,
    /// The script.
    pub script: AssetFile,
    /// The icon.
    pub icon: AssetFile,
}

/// A file that never changes under its name.
pub struct AssetFile {
    name: String,
    media_type: &'static str,
    text: &'static str,
}

impl AssetFile {
    fn new(stem: &str, suffix: &str, media_type: &'static str, text: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(text.as_bytes())[..8]);
        Self { name: format!("{stem}.{hash}.{suffix}"), media_type, text }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("{FOLDER}{}", self.name)
    }
}

/// Returns whether a path is that of a file, which needs no session.
pub fn is_asset(path: &str) -> bool {
    path.starts_with(FOLDER)
}

/// Returns the resource of all files.
pub fn resource() -> Resource {
    web::resource("/assets/{name}").get(serve)
}

async fn serve(request: HttpRequest) -> PageResult {
    let name = request.match_info().get("name").unwrap_or_default();
    let files = [&ASSETS.style, &ASSETS.script, &ASSETS.icon];
    let file = files.into_iter().find(|file| file.name == name).ok_or(ConsoleError::NoPage)?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::CONTENT_TYPE, file.media_type))
        .body(file.text))
}
