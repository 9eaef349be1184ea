//! A browser without JavaScript: follows redirects and submits a page's form by its first button.

use reqwest::Client;
use url::Url;

pub struct Page {
    pub url: Url,
    pub status: u16,
    pub text: String,
}

pub async fn open(http: &Client, url: &str) -> Page {
    go(http, http.get(url), "").await.1
}

/// Submits the one form of a page.
pub async fn submit(http: &Client, page: &Page) -> Page {
    submit_and_note(http, page, "").await.1
}

/// Submits, and answers also the last URL on the way whose path begins with `note`.
pub async fn submit_and_note(http: &Client, page: &Page, note: &str) -> (Url, Page) {
    let form =
        between(&page.text, "<form", "</form>").unwrap_or_else(|| panic!("no form on {}:\n{}", page.url, page.text));
    let head = form.split('>').next().unwrap();
    let action = page.url.join(&plain(attribute(head, "action").unwrap_or_default())).unwrap();
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    let mut pressed = false;
    let mut chosen = false;
    for tag in form.split('<').skip(1) {
        let is_button = tag.starts_with("button") && !pressed;
        let is_radio = tag.contains("type=\"radio\"");
        let is_field = tag.starts_with("input") && !tag.contains("type=\"submit\"") && !(is_radio && chosen);
        if let (true, Some(name)) = (is_button || is_field, attribute(tag, "name")) {
            fields.append_pair(&plain(name), &plain(attribute(tag, "value").unwrap_or_default()));
        }
        pressed |= is_button;
        chosen |= is_radio;
    }
    let fields = fields.finish();
    if attribute(head, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")) {
        go(http, http.post(action).header("content-type", "application/x-www-form-urlencoded").body(fields), note).await
    } else {
        let mut action = action;
        action.set_query(Some(&fields));
        go(http, http.get(action), note).await
    }
}

/// Follows redirects by hand, so that a test may also stop at one.
async fn go(http: &Client, request: reqwest::RequestBuilder, note: &str) -> (Url, Page) {
    let mut answer = request.send().await.unwrap();
    let mut noted = answer.url().clone();
    for _ in 0..10 {
        let url = answer.url().clone();
        let Some(location) = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned()) else {
            return (noted, Page { status: answer.status().as_u16(), text: answer.text().await.unwrap(), url });
        };
        let next = url.join(&location).unwrap();
        if next.host_str() == Some(APP_HOST) {
            return (noted, Page { url: next, status: 200, text: String::new() });
        }
        if next.path().starts_with(note) {
            noted = next.clone();
        }
        answer = http.get(next).send().await.unwrap();
    }
    panic!("redirected in a circle");
}

/// The app's own host in tests: nobody serves it, arriving there is the end of the walk.
pub const APP_HOST: &str = "app.example";

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let start = text.find(from)?;
    let end = text[start..].find(to)?;
    Some(&text[start..start + end])
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    tag[start..].split('"').next()
}

fn plain(text: &str) -> String {
    text.replace("&amp;", "&")
        .replace("&quot;", "\"")
        .replace("&#x27;", "'")
        .replace("&#x2F;", "/")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
}
