//! Microsoft Entra: an application's secret exchanged for an access token to Azure's AI services.
//!
//! Source: "OAuth 2.0 client credentials flow" of the Microsoft identity platform.

use super::tokens::{self, Granted};
use super::{Unsigned, needed};
use crate::catalog::Environment;
use crate::catalog::env::is_part;
use crate::route::{Credential, Secret};

/// Who asks, and where.
#[derive(Debug)]
pub struct Application {
    token_url: String,
    client_id: String,
    client_secret: Secret,
}

/// The variables that are read beside the credential's own.
pub const VARIABLES: [&str; 3] = [AUTHORITY_HOST, TENANT_ID, CLIENT_ID];
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const AUTHORITY: &str = "https://login.microsoftonline.com";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

// === impl Application ===

impl Application {
    /// From the variables that the Azure SDKs read; the credential is the application's secret.
    pub fn of(credential: &Credential, env: &Environment) -> Result<Application, String> {
        let authority = env.get(AUTHORITY_HOST).unwrap_or(AUTHORITY).trim_end_matches('/');
        let tenant = needed(env, TENANT_ID)?;
        if !is_part(tenant) {
            return Err("AZURE_TENANT_ID is no tenant's id".to_owned());
        }
        Ok(Application {
            token_url: format!("{authority}/{tenant}/oauth2/v2.0/token"),
            client_id: needed(env, CLIENT_ID)?.to_owned(),
            client_secret: credential.secret.clone(),
        })
    }

    /// A new token.
    pub async fn fetch(&self) -> Result<Granted, Unsigned> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.expose()),
            ("scope", SCOPE),
        ];
        tokens::post_form(&self.token_url, &form).await
    }
}
