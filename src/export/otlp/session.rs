//! What events say of their sessions, announced or not. Knows the directory, not the wire.

use std::borrow::Cow;

use super::attributes::{Attribute, Scalar};
use super::span::Settings;
use crate::event::directory;
use crate::event::semconv::name;
use crate::id::SessionId;

/// The platform makes sessions from their events.
#[derive(Clone, Debug)]
pub(crate) struct AutoCreate {
    /// The name of a session that has none of its own.
    pub(crate) default_name: String,
    /// The instance's own session, if that one is announced all the same.
    pub(crate) announced: Option<SessionId>,
}

impl AutoCreate {
    /// The name under which a session is to be made; `None`: it is announced, or exists.
    pub(crate) fn name_of(&self, session: SessionId) -> Option<String> {
        if self.announced == Some(session) {
            return None;
        }
        let start = directory::get(session);
        if start
            .as_ref()
            .is_some_and(|start| start.skip || start.has_content())
        {
            return None;
        }
        let name = start.and_then(|start| start.name.clone());
        Some(name.unwrap_or_else(|| self.default_name.clone()))
    }
}

/// The attributes that every span of a session has; `has` tells what the span says of itself, which goes first.
pub(super) fn first_attributes<'a>(
    session: SessionId,
    project: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    settings: &'a Settings,
    has: impl Fn(&str) -> bool,
) -> Vec<Attribute<'a>> {
    let mut attributes = Vec::with_capacity(12);
    let id = || Scalar::Uuid(session.uuid());
    attributes.push(Attribute::new("", name::SESSION_ID, id()));
    attributes.push(Attribute::new("", name::ASSOCIATED_SESSION_ID, id()));
    let project = project.or(settings.project.as_deref().map(Cow::Borrowed));
    if let Some(project) = project {
        attributes.push(Attribute::text(name::PROJECT, project.clone()));
        attributes.push(Attribute::text(name::ASSOCIATED_PROJECT, project));
    }
    if let Some(auto_create) = &settings.auto_create
        && let Some(name) = auto_create.name_of(session)
    {
        let yes = Scalar::Bool(true);
        attributes.push(Attribute::new("", name::SESSION_AUTO_CREATE, yes));
        attributes.push(Attribute::text(name::SESSION_NAME, name));
    }
    // What the session says goes before the instance.
    let start = directory::evaluated(session);
    let of_session = start.iter().flat_map(|start| &start.evaluation);
    let of_session = of_session.map(|(key, id)| (*key, Cow::Owned(id.clone())));
    let of_instance = settings.evaluation.iter();
    let of_instance = of_instance.map(|(key, id)| (*key, Cow::Borrowed(id.as_str())));
    for (key, id) in of_session.chain(of_instance) {
        if !has(key) && !attributes.iter().any(|it| it.is(name::METADATA, key)) {
            attributes.push(Attribute::new(name::METADATA, key, Scalar::Text(id)));
        }
    }
    let source = source.unwrap_or(Cow::Borrowed(&settings.source));
    attributes.push(Attribute::text(name::SOURCE, source.clone()));
    attributes.push(Attribute::text(name::ASSOCIATED_SOURCE, source));
    attributes
}
