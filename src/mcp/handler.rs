//! What MCP clients ask: each request is answered by the gateway itself, by a prompt, or by the federated server that its name tells.

use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, ClientRequest, CompleteRequest, CompleteRequestParams, CompleteResult,
    CompletionInfo, CustomRequest, CustomResult, DiscoverResult, GetPromptRequest, GetPromptRequestParams, GetPromptResponse,
    InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    LoggingLevel, PaginatedRequestParams, ReadResourceRequest, ReadResourceRequestParams, ReadResourceResponse, Reference, ServerResult,
    SetLevelRequestParams, SubscribeRequest, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequest,
    UnsubscribeRequestParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;

use super::calls::{Called, Way, held_back, no_tool, unusable};
use super::endpoint::Presented;
use super::federation::{Changes, Key, Kind, Listed, Pool, Server};
use super::holder::Holder;
use super::names::{self, Manner, shown};
use super::{introduction, plain, prompts, services, subscriptions, tools};
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::service::Service;
use crate::telemetry::UNLISTED;

/// What one session, or one request without a session, talks to.
pub struct Handler {
    gateway: Arc<Gateway>,
    /// The only server that is seen, where one is.
    alone: Option<Arc<Server>>,
    manner: Manner,
    pool: Arc<Pool>,
    /// Who began it; each request names its own.
    caller: Caller,
    level: Mutex<Option<LoggingLevel>>,
}

/// Who has what a name or a URI names.
enum Whose<'a> {
    /// The gateway itself.
    Own(&'a str),
    /// A prompt.
    Prompt(&'a str),
    /// A REST service.
    Service(Arc<Service>, &'a str),
    /// A federated server, by its own name for it.
    Server(Arc<Server>, &'a str),
}

// === impl Handler ===

impl Handler {
    /// For a session, or a request without one.
    pub fn new(gateway: &Arc<Gateway>, alone: Option<Arc<Server>>, manner: Manner, pool: Arc<Pool>, caller: Caller) -> Handler {
        Handler { gateway: Arc::clone(gateway), alone, manner, pool, caller, level: Mutex::default() }
    }

    fn whose<'a>(&self, name: &'a str) -> Option<Whose<'a>> {
        match (&self.alone, names::split(name)) {
            (Some(server), _) => Some(Whose::Server(Arc::clone(server), name)),
            (None, Some((prompts::SERVER, name))) => Some(Whose::Prompt(name)),
            (None, Some((server, name))) => match self.gateway.mcp.federation.server(server) {
                Some(server) => Some(Whose::Server(Arc::clone(server), name)),
                // Tools are those of the version that is shown.
                None if server.contains('@') => None,
                None => self.gateway.services.services().named(server).map(|service| Whose::Service(Arc::clone(service), name)),
            },
            (None, None) => Some(Whose::Own(name)),
        }
    }

    pub(super) fn whose_uri<'a>(&self, uri: &'a str) -> Option<(Arc<Server>, &'a str)> {
        match (&self.alone, names::split_uri(uri)) {
            (Some(server), _) => Some((Arc::clone(server), uri)),
            (None, Some((server, uri))) => Some((Arc::clone(self.gateway.mcp.federation.server(server)?), uri)),
            (None, None) => None,
        }
    }

    /// How names are told here.
    pub(super) fn manner(&self) -> Manner {
        self.manner
    }

    /// The gateway.
    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Raised whenever what there is has changed.
    pub(super) fn changes(&self) -> tokio::sync::watch::Receiver<Changes> {
        self.gateway.mcp.changes()
    }

    /// The servers that are seen, with what each has: all are asked at once.
    async fn listings(&self) -> Vec<(Arc<Server>, Listed)> {
        let servers: Vec<Arc<Server>> = match &self.alone {
            Some(server) => vec![Arc::clone(server)],
            None => self.gateway.mcp.federation.servers().cloned().collect(),
        };
        let listed = servers.into_iter().map(|server| async move {
            // What is asked of one alone is worth waiting for.
            let listing = if self.alone.is_some() { server.listing().await } else { server.listing_soon().await };
            (server, listing)
        });
        futures_util::future::join_all(listed).await
    }

    /// What of all servers a key may use, each told by `tell`.
    async fn gathered<T>(&self, called: &Called, tell: impl Fn(&Server, &Listed, &dyn Fn(&str) -> bool) -> Vec<T>) -> Vec<T> {
        let listings = self.listings().await;
        let of_one = |(server, listing): &(Arc<Server>, Listed)| {
            tell(server, listing, &|name: &str| called.caller.may_use_tool(&format!("{}/{name}", server.name)).is_ok())
        };
        listings.iter().flat_map(of_one).collect()
    }

    /// What a server says of its use is for those who may use something of it.
    fn withhold(&self, called: &Called, instructions: &mut Option<String>) {
        let Some(server) = &self.alone else { return };
        let listing = server.listing_now();
        let may_use = |name: &str| called.caller.may_use_tool(&format!("{}/{name}", server.name)).is_ok();
        let may_use_some = listing.approved_tools().any(|tool| may_use(&tool.name))
            || listing.approved_prompts().any(|prompt| may_use(&prompt.name))
            || listing.approved_resources().any(|resource| may_use(&resource.uri))
            || listing.approved_templates().any(|template| may_use(&template.uri_template));
        if !may_use_some {
            *instructions = None;
        }
    }

    fn way<'a>(&'a self, server: &'a Server) -> Way<'a> {
        let level = *self.level.lock().unwrap_or_else(PoisonError::into_inner);
        Way { gateway: &self.gateway, server, pool: &self.pool, manner: self.manner, level }
    }

    async fn call_federated(
        &self,
        called: &Called,
        server: &Server,
        name: &str,
        mut asked: CallToolRequestParams,
    ) -> Result<CallToolResponse, ErrorData> {
        let listing = server.listing().await;
        if let Some(why) = unusable(server, &listing, name) {
            // It is a request all the same; of names that callers make up, the ledger has no end of rows.
            let row = if listing.tools.iter().any(|tool| tool.name == name) { name } else { UNLISTED };
            return called.metered_as(&self.gateway, (&server.name, name, row), async { why.map(CallToolResponse::from) }).await;
        }
        (asked.name, asked.meta) = (name.to_owned().into(), None);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(asked));
        let run = async {
            match called.forward(&self.way(server), request).await? {
                ServerResult::CallToolResult(mut result) => {
                    result.content.iter_mut().for_each(|content| self.manner.content(&server.name, content));
                    Ok(CallToolResponse::from(result))
                }
                ServerResult::InputRequiredResult(result) => Ok(CallToolResponse::from(result)),
                _ => Err(server.trouble("answered with no result of a tool").0),
            }
        };
        called.metered(&self.gateway, (&server.name, name), run).await
    }

    /// A prompt of the gateway's own; one that has the name of a server's prompt is told, and can be got, as its tool is.
    fn own_prompt(&self, prompt: &crate::prompt::Prompt) -> rmcp::model::Prompt {
        let mut told = prompts::prompt(prompt);
        if let Some(Whose::Server(..)) = self.whose(&told.name) {
            told.name = self.manner.name(prompts::SERVER, &told.name);
        }
        told
    }

    /// Passes on what a session subscribes to, and ends.
    async fn subscribed(
        &self,
        uri: &str,
        context: RequestContext<RoleServer>,
        request: impl FnOnce(&str) -> ClientRequest,
    ) -> Result<(), ErrorData> {
        let called = Called::of(context)?;
        let (server, own) = self.whose_uri(uri).ok_or_else(|| no_resource(uri))?;
        names::check_uri(own).map_err(|why| ErrorData::invalid_params(why, None))?;
        let request = request(own);
        let is_wanted = matches!(request, ClientRequest::SubscribeRequest(_));
        called.admit(&format!("{}/{own}", server.name))?;
        if !is_wanted {
            called.forward(&self.way(&server), request).await?;
            self.pool.subscribe(&server.name, own, false);
            return Ok(());
        }
        uri_approved(&server, own)?;
        // The first that it tells of it may come beside its answer.
        self.pool.subscribe(&server.name, own, true);
        let subscribed = called.forward(&self.way(&server), request).await;
        subscribed.map(drop).inspect_err(|_| self.pool.subscribe(&server.name, own, false))
    }
}

fn no_resource(uri: &str) -> ErrorData {
    ErrorData::resource_not_found(format!("There is no resource '{}': resources/list names them.", shown(uri)), None)
}

/// Refuses what is not as it was approved.
fn approved(server: &Server, kind: Kind, own: &str) -> Result<(), ErrorData> {
    match server.listing_now().holds_back(kind, own) {
        true => Err(ErrorData::invalid_request(held_back(server, &Key::new(kind, own)), None)),
        false => Ok(()),
    }
}

/// Refuses a resource that is not as it was approved, or whose template is not.
fn uri_approved(server: &Server, own: &str) -> Result<(), ErrorData> {
    let key = server.listing_now().holds_back_uri(own);
    key.map_or(Ok(()), |key| Err(ErrorData::invalid_request(held_back(server, &key), None)))
}

/// All is told at once: there is no next page.
fn first_page(asked: Option<&PaginatedRequestParams>) -> Result<(), ErrorData> {
    match asked.and_then(|asked| asked.cursor.as_ref()) {
        Some(_) => Err(ErrorData::invalid_params("There is no such cursor: everything is on the first page.", None)),
        None => Ok(()),
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> InitializeResult {
        introduction::of(&self.gateway, self.alone.as_deref())
    }

    async fn initialize(&self, asked: InitializeRequestParams, context: RequestContext<RoleServer>) -> Result<InitializeResult, ErrorData> {
        // What a server can do is known once it has been asked.
        self.listings().await;
        context.peer.set_peer_info(asked.clone());
        let mut agreed = self.negotiate_initialize(&asked)?;
        self.withhold(&Called::of(context)?, &mut agreed.instructions);
        if !self.gateway.mcp.has_sessions() {
            introduction::unannounced(&mut agreed.capabilities);
        }
        Ok(agreed)
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        self.listings().await;
        let mut info = self.get_info();
        self.withhold(&Called::of(context)?, &mut info.instructions);
        Ok(DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), info))
    }

    async fn list_tools(
        &self,
        asked: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        first_page(asked.as_ref())?;
        let called = Called::of(context)?;
        called.count()?;
        let mut all: Vec<Tool> = Vec::new();
        if self.alone.is_none() {
            let own = tools::all().into_iter();
            all.extend(own.filter(|tool| called.caller.may_use_tool(&format!("{}/{}", tools::SERVER, tool.name)).is_ok()));
            all.extend(prompts::allowed(&self.gateway, &called.caller).iter().map(|prompt| prompts::tool(prompt)));
            all.extend(services::tools(&self.gateway, &called.caller));
        }
        let federated = self.gathered(&called, |server, listing, may_use| {
            let told = |tool: &Tool| {
                let mut tool = tool.clone();
                tool.name = self.manner.name(&server.name, &tool.name).into();
                tool
            };
            listing.approved_tools().filter(|tool| may_use(&tool.name)).map(told).collect()
        });
        all.extend(federated.await);
        Ok(ListToolsResult::with_all_items(all))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        match self.whose(name)? {
            Whose::Server(server, own) => server.listing_now().tools.iter().find(|tool| tool.name == own).cloned(),
            Whose::Own(_) | Whose::Prompt(_) | Whose::Service(..) => None,
        }
    }

    async fn call_tool(&self, asked: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let called = Called::of(context)?;
        let name = asked.name.clone();
        match self.whose(&name).ok_or_else(|| no_tool(&name))? {
            Whose::Server(server, own) => self.call_federated(&called, &server, own, asked).await,
            Whose::Prompt(own) => {
                let run = prompts::call(&self.gateway, &called, own, asked.arguments.unwrap_or_default());
                Ok(called.while_wanted(&self.gateway, Box::pin(run)).await?.into())
            }
            Whose::Service(service, own) => {
                let run = services::call(&self.gateway, &called, &service, own, asked.arguments.unwrap_or_default());
                Ok(called.while_wanted(&self.gateway, Box::pin(run)).await??.into())
            }
            Whose::Own(own) if !tools::has(own) => Err(no_tool(own)),
            Whose::Own(own) => {
                let arguments = Value::Object(asked.arguments.unwrap_or_default());
                let run = async { tools::call(&self.gateway, &called.caller, own, arguments).await.map(CallToolResponse::from) };
                called.metered(&self.gateway, (tools::SERVER, own), run).await
            }
        }
    }

    async fn list_prompts(
        &self,
        asked: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        first_page(asked.as_ref())?;
        let called = Called::of(context)?;
        called.count()?;
        let mut all = match self.alone {
            Some(_) => Vec::new(),
            None => prompts::allowed(&self.gateway, &called.caller).iter().map(|prompt| self.own_prompt(prompt)).collect(),
        };
        let federated = self.gathered(&called, |server, listing, may_use| {
            let told = |prompt: &rmcp::model::Prompt| {
                let mut prompt = prompt.clone();
                prompt.name = self.manner.name(&server.name, &prompt.name);
                prompt
            };
            listing.approved_prompts().filter(|prompt| may_use(&prompt.name)).map(told).collect()
        });
        all.extend(federated.await);
        Ok(ListPromptsResult::with_all_items(all))
    }

    async fn get_prompt(
        &self,
        mut asked: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let called = Called::of(context)?;
        let name = asked.name.clone();
        let no_prompt = || ErrorData::invalid_params(format!("There is no prompt '{}': prompts/list names them.", shown(&name)), None);
        // A prompt of the gateway's own may have any name.
        let whose = self.whose(&name).or(Some(Whose::Own(&name)).filter(|_| self.alone.is_none()));
        match whose.ok_or_else(no_prompt)? {
            Whose::Server(server, own) => {
                (asked.name, asked.meta) = (own.to_owned(), None);
                let request = ClientRequest::GetPromptRequest(GetPromptRequest::new(asked));
                let way = self.way(&server);
                let run = async {
                    approved(&server, Kind::Prompt, own)?;
                    called.forward(&way, request).await
                };
                match called.metered_use(&self.gateway, (&server.name, own, "prompts/get"), run).await? {
                    ServerResult::GetPromptResult(mut result) => {
                        result.messages.iter_mut().for_each(|message| self.manner.content(&server.name, &mut message.content));
                        Ok(result.into())
                    }
                    ServerResult::InputRequiredResult(result) => Ok(result.into()),
                    _ => Err(server.trouble("answered with no prompt").0),
                }
            }
            whose => {
                let own = if let Whose::Own(own) | Whose::Prompt(own) = whose { own } else { &name };
                let run = async { prompts::get(&self.gateway, &called.caller, own, asked.arguments).map(GetPromptResponse::from) };
                called.metered_use(&self.gateway, (prompts::SERVER, prompts::base(own), "prompts/get"), run).await
            }
        }
    }

    async fn list_resources(
        &self,
        asked: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        first_page(asked.as_ref())?;
        let called = Called::of(context)?;
        called.count()?;
        let mut all = match self.alone {
            Some(_) => Vec::new(),
            None => prompts::allowed(&self.gateway, &called.caller).iter().map(|prompt| prompts::resource(prompt)).collect(),
        };
        let federated = self.gathered(&called, |server, listing, may_use| {
            let told = |resource: &rmcp::model::Resource| {
                let mut resource = resource.clone();
                resource.uri = self.manner.uri(&server.name, &resource.uri);
                resource
            };
            listing.approved_resources().filter(|resource| may_use(&resource.uri)).map(told).collect()
        });
        all.extend(federated.await);
        Ok(ListResourcesResult::with_all_items(all))
    }

    async fn list_resource_templates(
        &self,
        asked: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        first_page(asked.as_ref())?;
        let called = Called::of(context)?;
        called.count()?;
        let federated = self.gathered(&called, |server, listing, may_use| {
            let told = |template: &rmcp::model::ResourceTemplate| {
                let mut template = template.clone();
                template.uri_template = self.manner.uri(&server.name, &template.uri_template);
                template
            };
            listing.approved_templates().filter(|template| may_use(&template.uri_template)).map(told).collect()
        });
        Ok(ListResourceTemplatesResult::with_all_items(federated.await))
    }

    async fn read_resource(
        &self,
        mut asked: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let called = Called::of(context)?;
        let uri = asked.uri.clone();
        let Some((server, own)) = self.whose_uri(&uri) else {
            let name = prompts::named(&uri).ok_or_else(|| no_resource(&uri))?;
            let run = async { prompts::file(&self.gateway, &called.caller, name).map(ReadResourceResponse::from) };
            return called.metered_use(&self.gateway, (prompts::SERVER, prompts::base(name), "resources/read"), run).await;
        };
        names::check_uri(own).map_err(|why| ErrorData::invalid_params(why, None))?;
        (asked.uri, asked.meta) = (own.to_owned(), None);
        let request = ClientRequest::ReadResourceRequest(ReadResourceRequest::new(asked));
        let way = self.way(&server);
        let run = async {
            uri_approved(&server, own)?;
            called.forward(&way, request).await
        };
        match called.metered_use(&self.gateway, (&server.name, own, "resources/read"), run).await? {
            ServerResult::ReadResourceResult(mut result) => {
                result.contents.iter_mut().for_each(|contents| self.manner.resource(&server.name, contents));
                Ok(result.into())
            }
            ServerResult::InputRequiredResult(result) => Ok(result.into()),
            _ => Err(server.trouble("answered with no resource").0),
        }
    }

    async fn complete(&self, mut asked: CompleteRequestParams, context: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        let called = Called::of(context)?;
        let nothing = || Ok(CompleteResult::new(CompletionInfo::default()));
        let (server, of) = match &mut asked.r#ref {
            Reference::Prompt(prompt) => {
                let name = prompt.name.clone();
                let Some(Whose::Server(server, own)) = self.whose(&name) else { return nothing() };
                prompt.name = own.to_owned();
                (server, Key::new(Kind::Prompt, own))
            }
            Reference::Resource(resource) => {
                let uri = resource.uri.clone();
                let Some((server, own)) = self.whose_uri(&uri) else { return nothing() };
                names::check_uri(own).map_err(|why| ErrorData::invalid_params(why, None))?;
                resource.uri = own.to_owned();
                (server, Key::new(Kind::Template, own))
            }
            _ => return nothing(),
        };
        asked.meta = None;
        let request = ClientRequest::CompleteRequest(CompleteRequest::new(asked));
        let way = self.way(&server);
        let run = async {
            approved(&server, of.kind, &of.name)?;
            if of.kind == Kind::Template {
                uri_approved(&server, &of.name)?;
            }
            called.forward(&way, request).await
        };
        match called.metered_use(&self.gateway, (&server.name, &of.name, "completion/complete"), run).await? {
            ServerResult::CompleteResult(result) => Ok(result),
            _ => Err(server.trouble("answered with no completion").0),
        }
    }

    async fn on_custom_request(&self, request: CustomRequest, _: RequestContext<RoleServer>) -> Result<CustomResult, ErrorData> {
        Err(plain::unknown(&request))
    }

    async fn set_level(&self, asked: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked.level);
        Ok(())
    }

    async fn subscribe(&self, asked: SubscribeRequestParams, context: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let request = |uri: &str| ClientRequest::SubscribeRequest(SubscribeRequest::new(SubscribeRequestParams::new(uri)));
        self.subscribed(&asked.uri, context, request).await
    }

    async fn unsubscribe(&self, asked: UnsubscribeRequestParams, context: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let request = |uri: &str| ClientRequest::UnsubscribeRequest(UnsubscribeRequest::new(UnsubscribeRequestParams::new(uri)));
        self.subscribed(&asked.uri, context, request).await
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let pool = Arc::downgrade(&self.pool);
        let presented = context.extensions.get::<Parts>().and_then(|head| head.extensions.get::<Presented>()).cloned();
        let Some(Presented(presented)) = presented else { return };
        let holder = Holder::new(&self.gateway, self.caller.id(), presented);
        tokio::spawn(subscriptions::tell_session((self.changes(), holder), context.peer, Arc::clone(&self.gateway), pool));
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut accepted = requested.clone();
        // A server with sessions tells those alone of its resources, and who listens has none.
        let is_told = |uri: &String| {
            self.whose_uri(uri).is_some_and(|(server, own)| {
                let is_approved = names::check_uri(own).is_ok() && uri_approved(&server, own).is_ok();
                is_approved && server.tells_all() && self.caller.may_use_tool(&format!("{}/{own}", server.name)).is_ok()
            })
        };
        accepted.resource_subscriptions.iter_mut().for_each(|uris| uris.retain(is_told));
        Some(accepted)
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        subscriptions::listen(self, &subscription).await
    }
}
