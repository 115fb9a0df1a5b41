//! The manual: the pages of `docs/`, as they are in the repository.
//!
//! To start: [quick start](quick_start). For clients: [protocol], [exports], [authentication]. For operators:
//! [settings], [operate], [troubleshooting], [backup]. For hosts: [embed]. What is promised: [guarantees].

// `sh skip=WORD` is for `tests/manual`.
#![allow(rustdoc::invalid_codeblock_attributes)]

/// Makes a module of each page. The links of a page are references, and `links.md`, which stands before it,
/// says where they lead here; in the repository they lead where the page itself says. Pictures are references
/// too: `pictures.md` has them as data, because rustdoc copies no files.
macro_rules! pages {
    ($($name:ident $file:literal $(+ $pictures:literal)?)*) => {$(
        #[doc = include_str!("links.md")]
        $(#[cfg_attr(doc, doc = include_str!($pictures))])?
        #[doc = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $file))]
        pub mod $name {}
    )*};
}

pages! {
    architecture "docs/architecture.md"
    audit "docs/audit.md"
    authentication "docs/authentication.md"
    backup "docs/backup.md"
    bounds "docs/bounds.md"
    client "docs/client.md"
    command_line "docs/command-line.md"
    console "docs/console.md" + "pictures.md"
    data_directory "docs/data-directory.md"
    embed "docs/embed.md"
    encryption "docs/encryption.md"
    exports "docs/exports.md"
    guarantees "docs/guarantees.md"
    http "docs/http.md"
    install "docs/install.md"
    keys "docs/keys.md"
    logs "docs/logs.md"
    metrics "docs/metrics.md"
    operate "docs/operate.md"
    proofs "docs/proofs.md"
    protocol "docs/protocol.md"
    quick_start "docs/quick-start.md"
    receipts "docs/receipts.md"
    requirements "docs/requirements.md"
    settings "docs/settings.md"
    source "docs/source.md"
    space "docs/space.md"
    stopping "docs/stopping.md"
    testing "docs/testing.md"
    tls "docs/tls.md"
    troubleshooting "docs/troubleshooting.md"
    security "SECURITY.md"
    changelog "CHANGELOG.md"
}
