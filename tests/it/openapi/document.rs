//! The document, held against answers.

use std::collections::BTreeSet;

use hyper::Method;
use jsonschema::Validator;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::docs::close;
use crate::harness::{Answer, Http, Server};

/// The document, and which of its answers were heard.
pub(super) struct Document {
    pub(super) all: Value,
    heard: Mutex<BTreeSet<(String, u16)>>,
}

impl Document {
    pub(super) async fn of(server: &Server) -> Self {
        let answer = Http::get(server, "/api-docs.json").send().await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, JSON));
        let mut all = answer.json();
        close(&mut all);
        Self { all, heard: Mutex::default() }
    }

    /// Methods and paths, as `GET /health`.
    pub(super) fn operations(&self) -> BTreeSet<String> {
        let paths = self.all["paths"].as_object().unwrap().iter();
        let named = paths.flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        named.collect()
    }

    /// The described path that a request's path is one of; one without parameters comes first.
    fn path(&self, path: &str) -> &str {
        let path = path.split('?').next().unwrap();
        let is_one = |described: &str| {
            let (described, path) = (described.split('/'), path.split('/'));
            described.clone().count() == path.clone().count()
                && described.zip(path).all(|(one, other)| one.starts_with('{') || one == other)
        };
        let paths = self.all["paths"].as_object().unwrap().keys();
        let found = paths.filter(|described| is_one(described));
        found.min_by_key(|found| found.matches('{').count()).unwrap_or_else(|| panic!("{path}"))
    }

    /// Asks, and holds the answer against what is said of it.
    pub(super) async fn ask(
        &self,
        server: &Server,
        method: Method,
        path: &str,
        more: Asked<'_>,
    ) -> Answer {
        let mut request = Http::new(server, method.clone(), path);
        if let Some(token) = more.token {
            request = request.header("authorization", &format!("Bearer {token}"));
        }
        if let Some((name, value)) = more.header {
            request = request.header(name, value);
        }
        if let Some(body) = more.body {
            request = request.text(body);
        }
        let answer = request.send().await;
        self.assert_fits(&method, path, &answer);
        answer
    }

    fn assert_fits(&self, method: &Method, path: &str, answer: &Answer) {
        let path = self.path(path);
        let status = answer.status.as_u16();
        let what = format!("{method} {path} {status}");
        let operation = &self.all["paths"][path][method.as_str().to_lowercase()];
        let described = &operation["responses"][status.to_string()];
        assert!(described.is_object(), "{what} is not described: {answer:?}");
        let kind = answer.header("content-type").split(';').next().unwrap();
        let content = &described["content"][kind];
        assert!(content.is_object(), "{what} is not described as {kind}: {answer:?}");
        for header in described["headers"].as_object().into_iter().flat_map(|all| all.keys()) {
            assert!(answer.headers.contains_key(header), "{what} has no {header}: {answer:?}");
        }
        if kind == "application/json" {
            let value = answer.json();
            let schema =
                json!({"components": self.all["components"], "allOf": [content["schema"]]});
            let validator = Validator::new(&schema).expect("a schema");
            let errors: Vec<_> =
                validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{what}: {errors:#?}\n{value:#}");
            if let Some(code) = value["code"].as_str() {
                let codes = described["description"].as_str().unwrap();
                assert!(codes.contains(&format!("`{code}`")), "{what} does not tell of {code}");
            }
        }
        self.heard.lock().insert((format!("{method} {path}"), status));
    }

    pub(super) fn heard(&self, status: u16) -> BTreeSet<String> {
        let heard = self.heard.lock();
        heard.iter().filter(|(_, one)| *one == status).map(|(what, _)| what.clone()).collect()
    }
}

pub(super) const JSON: &str = "application/json; charset=utf-8";

/// What comes with a request.
#[derive(Default)]
pub(super) struct Asked<'a> {
    pub(super) token: Option<&'a str>,
    pub(super) header: Option<(&'static str, &'a str)>,
    pub(super) body: Option<String>,
}

pub(super) fn bare() -> Asked<'static> {
    Asked::default()
}

pub(super) fn by(token: &str) -> Asked<'_> {
    Asked { token: Some(token), ..bare() }
}

pub(super) fn with(body: &Value) -> Asked<'static> {
    Asked { body: Some(body.to_string()), ..bare() }
}

pub(super) fn said(text: &str) -> Asked<'static> {
    Asked { body: Some(text.to_owned()), ..bare() }
}
