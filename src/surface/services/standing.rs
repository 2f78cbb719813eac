//! `/services/NAME/subscription`: a key asks for one, and sees how it stands.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State as Of;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::{found, refuse, store_down};
use crate::admin::services;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::life::State;
use crate::service::{Access, Service, Standing};
use crate::surface::Segment;
use crate::versions::Versioned;

/// How the key stands with a service.
pub async fn show(Of(gateway): Of<Arc<Gateway>>, Segment(name): Segment<1>, head: Parts) -> Response<Body> {
    match wanting(&gateway, &head, &name).await {
        Ok((caller, service)) => told(StatusCode::OK, &service, gateway.subscriptions.standing(&service.name, caller.record().family)),
        Err(refusal) => refuse(&refusal),
    }
}

/// The key asks; asking again changes nothing.
pub async fn ask(Of(gateway): Of<Arc<Gateway>>, Segment(name): Segment<1>, head: Parts) -> Response<Body> {
    asked(&gateway, &head, &name).await.unwrap_or_else(|refusal| refuse(&refusal))
}

async fn asked(gateway: &Gateway, head: &Parts, name: &str) -> Result<Response<Body>, Refusal> {
    let (caller, service) = wanting(gateway, head, name).await?;
    if service.access == Access::Open {
        return Ok(told(StatusCode::OK, &service, None));
    }
    caller.count(&|_| false)?;
    let family = caller.record().family;
    let asked = gateway.subscriptions.standing(&service.name, family).filter(|standing| *standing != Standing::Ended);
    if let Some(standing) = asked {
        return Ok(told(StatusCode::OK, &service, Some(standing)));
    }
    services::ask(&*gateway.subscription_store, &service.name, &caller).await.map_err(|e| store_down(&e))?;
    gateway.subscriptions.refresh().await.map_err(|e| store_down(&e))?;
    Ok(told(StatusCode::ACCEPTED, &service, gateway.subscriptions.standing(&service.name, family)))
}

/// The service that is meant: where another version that is served wants a subscription and the one that is shown does not, that one.
async fn wanting(gateway: &Gateway, head: &Parts, name: &str) -> Result<(Caller, Arc<Service>), Refusal> {
    let (caller, service) = found(gateway, head, name).await?;
    let (services, now) = (gateway.services.services(), Timestamp::now());
    let is_served = |other: &&Arc<Service>| matches!(other.state_at(now), State::Published | State::Deprecated);
    let mut others = services.each(name).rev().filter(is_served).filter(|other| other.access == Access::Approval);
    let other = others.next().filter(|_| service.access == Access::Open).cloned();
    Ok((caller, other.unwrap_or(service)))
}

fn told(status: StatusCode, service: &Service, standing: Option<Standing>) -> Response<Body> {
    let (standing, message) = match (service.access, standing) {
        (Access::Open, _) => ("approved", "This service needs no subscription: any key may call it whose scope allows it."),
        (_, None) => ("none", "POST here to ask for a subscription."),
        (_, Some(Standing::Ended)) => {
            ("ended", "This key's subscription was to a service that had this name before: POST here to ask for one to this.")
        }
        (_, Some(Standing::Pending)) => ("pending", "Whoever runs this gateway has been asked, and has not decided yet."),
        (_, Some(Standing::Approved)) => ("approved", "This key may call the service."),
        (_, Some(Standing::Denied)) => ("denied", "Whoever runs this gateway has said no: ask them."),
    };
    (status, Json(json!({ "service": service.name, "standing": standing, "message": message }))).into_response()
}
