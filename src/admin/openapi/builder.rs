//! Puts operations and the shapes that they use together.

use std::collections::BTreeMap;

use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ArrayBuilder, ContentBuilder, HeaderBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder,
    Ref, RefOr, Required, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::admin::dto::{IdempotencyKey, MessageId, Problem, QueueName, Seq, TopicName};

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// The specification, as it grows.
#[derive(Default)]
pub(super) struct Api {
    paths: Paths,
    schemas: BTreeMap<String, RefOr<Schema>>,
}

impl Api {
    pub(super) fn get(&mut self, path: &'static str, summary: &str) -> Route<'_> {
        self.route(HttpMethod::Get, path, summary)
    }

    pub(super) fn post(&mut self, path: &'static str, summary: &str) -> Route<'_> {
        self.route(HttpMethod::Post, path, summary)
    }

    pub(super) fn put(&mut self, path: &'static str, summary: &str) -> Route<'_> {
        self.route(HttpMethod::Put, path, summary)
    }

    pub(super) fn delete(&mut self, path: &'static str, summary: &str) -> Route<'_> {
        self.route(HttpMethod::Delete, path, summary)
    }

    /// Its tag is the first word of the path, its id the method and the path's words.
    fn route(&mut self, method: HttpMethod, path: &'static str, summary: &str) -> Route<'_> {
        let words =
            path.trim_start_matches("/v1").split(['/', '.']).filter(|word| !word.is_empty());
        let words: Vec<&str> = words.map(|word| word.trim_matches(['{', '}'])).collect();
        let name = match method {
            HttpMethod::Get => "get",
            HttpMethod::Post => "post",
            HttpMethod::Put => "put",
            _ => "delete",
        };
        let mut operation = OperationBuilder::new()
            .tag(*words.first().expect("a path has a word"))
            .summary(Some(summary))
            .operation_id(Some(format!("{name}-{}", words.join("-"))));
        for part in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let part = part.trim_end_matches('}');
            let schema = self.of_path(part);
            let parameter = ParameterBuilder::new()
                .name(part)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(schema));
            operation = operation.parameter(parameter);
        }
        Route { api: self, method, path, operation }
    }

    fn of_path(&mut self, part: &str) -> RefOr<Schema> {
        match part {
            "queue" => self.shape::<QueueName>(),
            "topic" => self.shape::<TopicName>(),
            "seq" => self.shape::<Seq>(),
            "id" => self.shape::<MessageId>(),
            "key" => self.shape::<IdempotencyKey>(),
            "name" | "code" => {
                ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).into()
            }
            other => panic!("nobody knows what {{{other}}} is"),
        }
    }

    /// A reference to the shape, which is put in with all that it uses.
    fn shape<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let mut used = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut used);
        for (name, schema) in used {
            self.schemas.entry(name).or_insert(schema);
        }
        Ref::from_schema_name(T::name()).into()
    }

    pub(super) fn finish(self) -> OpenApi {
        let info = InfoBuilder::new()
            .title("mubroker's admin API")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(
                "Over a unix socket, whose user is who acts, or over TCP with a token. Lists come page by page; repairs name the revision that \
                 was seen, and a key under which they act once. Errors are problem details (RFC 9457).",
            ));
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "Over TCP. The unix socket needs none: who may open it is its user.",
        ));
        let components = ComponentsBuilder::new()
            .schemas_from_iter(self.schemas)
            .security_scheme("token", SecurityScheme::Http(token.build()));
        let security = [SecurityRequirement::default(), SecurityRequirement::new("token", [""; 0])];
        OpenApiBuilder::new()
            .info(info.build())
            .paths(self.paths)
            .components(Some(components.build()))
            .security(Some(security))
            .build()
    }
}

/// One operation, until it is said what it answers.
pub(super) struct Route<'a> {
    api: &'a mut Api,
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
}

impl Route<'_> {
    /// A part of the query that may be left out.
    pub(super) fn query<T: ToSchema>(self, name: &str, description: &str) -> Self {
        let schema = self.api.shape::<T>();
        self.parameter(name, description, schema)
    }

    /// A number in the query that may be left out.
    pub(super) fn number(
        self,
        name: &str,
        least: u64,
        most: Option<u64>,
        description: &str,
    ) -> Self {
        let schema = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(least))
            .maximum(Some(most.unwrap_or(u64::MAX)));
        self.parameter(name, description, schema.into())
    }

    /// A text in the query that may be left out.
    pub(super) fn text(self, name: &str, description: &str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        self.parameter(name, description, schema.into())
    }

    /// Yes or no in the query, that may be left out.
    pub(super) fn flag(self, name: &str, description: &str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::Boolean);
        self.parameter(name, description, schema.into())
    }

    fn parameter(mut self, name: &str, description: &str, schema: RefOr<Schema>) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// It takes this.
    pub(super) fn takes<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::True)
    }

    /// It takes this, or nothing.
    pub(super) fn may_take<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::False)
    }

    fn body<T: ToSchema>(mut self, required: Required) -> Self {
        let content = ContentBuilder::new().schema(Some(self.api.shape::<T>())).build();
        let body = RequestBodyBuilder::new().content(JSON, content).required(Some(required));
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// It answers this.
    pub(super) fn gives<T: ToSchema>(self) {
        let schema = self.api.shape::<T>();
        self.gives_as(JSON, schema);
    }

    /// It answers this at once, and goes on; `location` says where it can be seen.
    pub(super) fn begins<T: ToSchema>(mut self) {
        let content = ContentBuilder::new().schema(Some(self.api.shape::<T>())).build();
        let place = HeaderBuilder::new()
            .description(Some("Where it can be seen."))
            .schema(Some(String::schema()));
        let response = ResponseBuilder::new()
            .description("It has begun.")
            .content(JSON, content)
            .header("location", place.build());
        self.operation = self.operation.response("202", response.build());
        self.end();
    }

    /// It answers a list of these.
    pub(super) fn gives_all<T: ToSchema>(self) {
        let items = self.api.shape::<T>();
        self.gives_as(JSON, ArrayBuilder::new().items(items).into());
    }

    /// It answers any JSON.
    pub(super) fn gives_json(self) {
        self.gives_as(JSON, ObjectBuilder::new().schema_type(Type::Object).into());
    }

    /// It answers text of this type.
    pub(super) fn gives_text(self, media_type: &str) {
        self.gives_as(media_type, String::schema());
    }

    fn gives_as(mut self, media_type: &str, schema: RefOr<Schema>) {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new().description("Done.").content(media_type, content);
        self.operation = self.operation.response("200", response.build());
        self.end();
    }

    /// It answers this, or nothing.
    pub(super) fn gives_or_nothing<T: ToSchema>(mut self) {
        self = self.may_give_nothing();
        self.gives::<T>();
    }

    /// It answers that it is done.
    pub(super) fn gives_nothing(mut self) {
        self = self.may_give_nothing();
        self.end();
    }

    fn may_give_nothing(mut self) -> Self {
        let response = ResponseBuilder::new().description("Done; there is nothing to tell.");
        self.operation = self.operation.response("204", response.build());
        self
    }

    fn end(self) {
        let Self { api, method, path, operation } = self;
        let content = ContentBuilder::new().schema(Some(api.shape::<Problem>())).build();
        let problem =
            ResponseBuilder::new().description("Refused, or failed.").content(PROBLEM, content);
        let operation = operation.response("default", problem.build());
        api.paths.add_path_operation(path, vec![method], operation.build());
    }
}
