//! What stands around every page: head, navigation and landmarks.

use maud::{DOCTYPE, Markup, html};

use super::assets::ASSETS;
use super::visit::Visit;
use super::{PAGES, ROOT, parts};

/// Returns a page for somebody who is signed in.
pub fn page(visit: &Visit, title: &str, notice: Option<&str>, content: Markup) -> Markup {
    let below = visit.path().strip_prefix(ROOT).unwrap_or_default();
    let is_current = |path: &str| {
        below == path
            || (!path.is_empty() && below.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
    };
    document(
        title,
        html! {
            a class="skip" href="#main" { "Skip to the content" }
            header class="top" {
                a class="brand" href=(ROOT) { "Evanesce" }
                nav aria-label="Pages" {
                    ul {
                        @for page in PAGES {
                            li {
                                a href={ (ROOT) (page.path) } aria-current=[is_current(page.path).then_some("page")] {
                                    (page.label)
                                }
                            }
                        }
                    }
                }
                (visit.form("/console/sign-out", html! { button class="plain" type="submit" { "Sign out" } }))
            }
            main id="main" tabindex="-1" {
                @if let Some(notice) = notice { p class="alert good" role="status" { (notice) } }
                (content)
            }
            footer {
                span { "Evanesce " (env!("CARGO_PKG_VERSION")) }
                span { "Made at " (parts::instant(visit.evanesce().now())) }
                span id="live" role="status" {}
            }
        },
    )
}

/// Returns a page for anybody, without the navigation.
pub fn bare(title: &str, content: Markup) -> Markup {
    document(title, html! { main id="main" class="bare" { (content) } })
}

fn document(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Evanesce" }
                link rel="icon" type="image/svg+xml" href=(ASSETS.icon.url());
                link rel="stylesheet" href=(ASSETS.style.url());
                script src=(ASSETS.script.url()) defer {}
            }
            body { (body) }
        }
    }
}
