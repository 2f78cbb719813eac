#![allow(clippy::unwrap_used)]

use super::*;

/// Of a request that has nothing of it in it.
fn blamed(status: StatusCode, text: &str) -> Blame {
    blame(status, text, &|_| false)
}

fn is_about_credential(status: StatusCode, text: &str) -> bool {
    blamed(status, text) == Blame::Credential
}

#[test]
fn what_a_provider_only_repeats_rests_nothing() {
    let told = |field: &str| {
        format!(r#"{{"type":"error","error":{{"type":"invalid_request_error","message":"{field}: Extra inputs are not permitted"}}}}"#)
    };
    for field in ["Your credit balance is too low", "api key not valid", "your account x is suspended due to insufficient balance"] {
        let sent = format!(r#"{{"model":"m","{}":1}}"#, field.to_uppercase());
        let escaped = format!(r#"{{"model":"m","\u{:04x}{}":1}}"#, u32::from(field.as_bytes()[0]), &field[1..]);
        for sent in [sent, escaped] {
            let judged = blame(StatusCode::BAD_REQUEST, &told(field), &|text| may_have(sent.as_bytes(), text));
            assert_eq!(judged, Blame::Request, "{sent}");
        }
        assert_eq!(blamed(StatusCode::BAD_REQUEST, &told(field)), Blame::Credential, "{field}");
    }
    assert!(may_have(r#"{"\u4f59\u989d\u4e0d\u8db3":1}"#.as_bytes(), "余额不足"));
    // As .NET and Go write what is no letter.
    assert!(!may_have(
        r#"{"a":"don\u0027t \u003cb\u003e, gr\u00fcn, \ud83d\ude00 \u12","b":"\\"}"#.as_bytes(),
        "your credit balance is too low"
    ));
}

#[test]
fn only_the_provider_can_say_that_our_credential_is_bad() {
    let bad = [
        r#"{"error":{"message":"Incorrect API key provided: sk-…","code":"invalid_api_key"}}"#,
        r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
        r#"{"error":"Invalid API key"}"#,
        "invalid api key",
    ];
    let others = [
        r#"{"error":{"message":"Invalid value: 'invalid_api_key'. Supported values are: 'system'.","code":"invalid_value","param":"messages[0].role"}}"#,
        r#"{"error":{"message":"'messages' says: Incorrect API key","code":null}}"#,
        "no such model: invalid api key",
    ];
    for status in [StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN] {
        bad.iter().for_each(|text| assert!(is_about_credential(status, text), "{text}"));
        others.iter().for_each(|text| assert!(!is_about_credential(status, text), "{text}"));
    }
}

#[test]
fn a_401_is_about_the_credential_or_about_the_model_or_does_not_say() {
    let of_model = [
        r#"{"error":{"message":"key not allowed to access model. This key can only access models=['a'].","type":"key_model_access_denied","param":"model","code":"401"}}"#,
        r#"{"error":{"message":"You have no access to model x","type":"invalid_request_error","code":"model_no_access"}}"#,
        r#"{"error":{"message":"x","type":"x","param":"model"}}"#,
        r#"{"code":"model_not_allowed","message":"x"}"#,
    ];
    let of_credential = [
        r#"{"error":{"message":"Incorrect API key provided: sk-…","code":"invalid_api_key","param":null}}"#,
        r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
        "Invalid API key",
    ];
    let of_neither = [
        r#"{"error":{"message":"The model 'x' is not for you","type":"auth_error","param":"None","code":"401"}}"#,
        r#"{"error":"Unauthorized"}"#,
        "",
    ];
    let blame = |text: &&str| blamed(StatusCode::UNAUTHORIZED, text);
    assert!(of_model.iter().all(|text| matches!(blame(text), Blame::Request)));
    assert!(of_credential.iter().all(|text| matches!(blame(text), Blame::Credential)));
    assert!(of_neither.iter().all(|text| matches!(blame(text), Blame::Unsaid)));
}

#[test]
fn a_403_is_about_the_credential_or_about_what_was_asked_for() {
    let bad = [
        r#"{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}"#,
        r#"{"error":{"code":403,"message":"Permission denied: Consumer 'api_key:AIza' has been suspended.","status":"PERMISSION_DENIED"}}"#,
        r#"{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED","details":[{"reason":"CONSUMER_SUSPENDED","domain":"googleapis.com"}]}}"#,
        r#"{"error":{"code":"invalid_api_key","message":"x","type":"auth"}}"#,
        r#"{"type":"error","error":{"type":"authentication_error","message":"x"}}"#,
        r#"{"error":{"code":"account_deactivated","message":"Your account is not active, please check your billing details.","type":"billing"}}"#,
        r#"{"message":"The security token included in the request is invalid."}"#,
        r#"{"status":403,"title":"Forbidden","detail":"Authorization failed"}"#,
    ];
    let others = [
        r#"{"error":{"message":"Project `proj_1` does not have access to model `gpt-5`","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
        r#"{"error":{"code":403,"message":"You do not have permission to access the File abc or it may not exist.","status":"PERMISSION_DENIED"}}"#,
        r#"{"error":{"code":403,"message":"Permission denied: Consumer 'x' may not","status":"PERMISSION_DENIED"}}"#,
        r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource."}}"#,
        r#"{"error":{"message":"Your input was flagged","code":403,"metadata":{"reasons":["violence"]}}}"#,
        "",
    ];
    bad.iter().for_each(|text| assert!(is_about_credential(StatusCode::FORBIDDEN, text), "{text}"));
    others.iter().for_each(|text| assert!(!is_about_credential(StatusCode::FORBIDDEN, text), "{text}"));
}

/// What providers say of what may not be used, and of what they will not have said.
#[test]
fn a_403_denies_a_model_or_a_right_or_what_a_request_says() {
    let denied = |permission: &str, resource: &str| {
        format!(
            r#"{{"error":{{"code":403,"message":"Permission '{permission}' denied on resource '//aiplatform.googleapis.com/{resource}' (or it may not exist).","status":"PERMISSION_DENIED","details":[{{"reason":"IAM_PERMISSION_DENIED","metadata":{{"permission":"{permission}","resource":"{resource}"}}}}]}}}}"#
        )
    };
    let vertex = denied("aiplatform.endpoints.predict", "projects/p/locations/l/publishers/google/models/m");
    let cache = denied("aiplatform.cachedContents.get", "projects/p/locations/l/cachedContents/7");
    let cases = [
        (
            Blame::Model,
            r#"{"error":{"message":"Project `proj_1` does not have access to model `gpt-5`","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
        ),
        (Blame::Model, r#"{"message":"You don't have access to the model with the specified model ID."}"#),
        (Blame::Model, r#"{"error":{"code":"AllocationQuota.FreeTierOnly","message":"The free tier of the model has been exhausted."}}"#),
        (Blame::Right, &vertex),
        (Blame::Request, &cache),
        (Blame::Right, r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission."}}"#),
        (
            Blame::Right,
            r#"{"Message":"User: arn:aws:iam::1:user/u is not authorized to perform: bedrock:InvokeModel on resource: arn:aws:bedrock:::m"}"#,
        ),
        (
            Blame::Request,
            r#"{"message":"User: arn:aws:iam::1:user/u is not authorized to perform: bedrock:ApplyGuardrail on resource: g"}"#,
        ),
        (Blame::Right, r#"{"code":"permission-denied","error":"Access to the chat endpoint is denied. Please ensure"}"#),
        (Blame::Request, r#"{"code":"permission-denied","error":"Content violates usage guidelines. "}"#),
        (
            Blame::Request,
            r#"{"error":{"code":403,"message":"Your input was flagged","metadata":{"reasons":["violence"],"model_slug":"m"}}}"#,
        ),
        (
            Blame::Request,
            r#"{"error":{"code":403,"message":"Request blocked: prompt injection patterns detected","metadata":{"patterns":["x"]}}}"#,
        ),
        (
            Blame::Request,
            r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}"#,
        ),
        (Blame::Request, r#"{"error":{"code":"content_policy_violation","message":"x","type":"invalid_request_error"}}"#),
        (Blame::Request, r#"{"error":{"type":"forbidden","message":"Request not allowed"}}"#),
        (Blame::Request, "<html>403 Forbidden</html>"),
    ];
    for (expected, text) in cases {
        assert_eq!(blamed(StatusCode::FORBIDDEN, text), expected, "{text}");
    }
}

#[test]
fn an_account_with_nothing_left_is_told_from_a_request_that_costs_too_much() {
    let cases = [
        (
            402,
            Blame::Credential,
            r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
        ),
        (402, Blame::Credential, r#"{"type":"error","error":{"type":"billing_error","message":"x"}}"#),
        (402, Blame::Credential, r#"{"error":{"code":402,"message":"x","metadata":{"limit_source":"openrouter_key_limit"}}}"#),
        (
            402,
            Blame::Unsaid,
            r#"{"error":{"code":402,"message":"Insufficient credits.","metadata":{"limit_source":"openrouter_credits"}}}"#,
        ),
        (402, Blame::Unsaid, ""),
        (
            402,
            Blame::Size,
            r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 10114.","code":402}}"#,
        ),
        (
            402,
            Blame::Size,
            r#"{"error":{"code":402,"message":"x","metadata":{"reason":"weight_exceeds_budget","limit_source":"openrouter_credits"}}}"#,
        ),
        (
            402,
            Blame::Size,
            r#"{"error":{"message":"Your key has $0.000730 left of its budget of $1 a month, and this request may cost up to $0.009841.","type":"insufficient_quota","param":null,"code":"budget_exceeded"}}"#,
        ),
        (
            402,
            Blame::Size,
            r#"{"error":{"message":"Insufficient balance. Required: 0.2","code":"insufficient_balance"},"requiredBalance":0.2}"#,
        ),
        (
            400,
            Blame::Credential,
            r#"{"error":{"message":"Budget has been exceeded! Current cost: 1, Max budget: 1","type":"budget_exceeded","code":"400"}}"#,
        ),
        (
            403,
            Blame::Credential,
            r#"{"error":{"code":"AccountOverdueError","message":"The request failed because your account has an overdue balance.","type":"Forbidden"}}"#,
        ),
        (402, Blame::Pace, r#"{"error":{"code":402,"message":"x","metadata":{"reason":"in_flight_budget_exhausted"}}}"#),
        (
            403,
            Blame::Credential,
            r#"{"error":{"code":403,"message":"Key limit exceeded (total limit). Manage it using https://openrouter.ai/keys"}}"#,
        ),
        (
            403,
            Blame::Credential,
            r#"{"code":"permission-denied","error":"Your team 1f has either used all available credits or reached its monthly spending limit."}"#,
        ),
        (403, Blame::Size, r#"{"error":{"code":"insufficient_user_quota","message":"x","type":"new_api_error"}}"#),
        (
            400,
            Blame::Credential,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}"#,
        ),
        (
            400,
            Blame::Credential,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-04-01."}}"#,
        ),
        (400, Blame::Credential, r#"{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing."}"#),
        (400, Blame::Request, r#"{"error":{"type":"invalid_request_error","message":"'messages' says: Your credit balance is too low"}}"#),
        (
            412,
            Blame::Credential,
            r#"{"error":{"message":"Account a is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices.","code":"PRECONDITION_FAILED"}}"#,
        ),
        (412, Blame::Request, r#"{"error":{"message":"If-Match does not match","code":"PRECONDITION_FAILED"}}"#),
        (
            429,
            Blame::Credential,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        ),
        (429, Blame::Credential, r#"{"error":{"message":"x","type":"insufficient_quota","code":"project_spend_limit_exceeded"}}"#),
        (
            429,
            Blame::Credential,
            r#"{"error":{"message":"Your account is not active","type":"billing_not_active","code":"billing_not_active"}}"#,
        ),
        (429, Blame::Credential, r#"{"error":{"code":"1113","message":"Insufficient balance or no resource package. Please recharge."}}"#),
        (
            429,
            Blame::Request,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        ),
        (
            429,
            Blame::Request,
            r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
        (429, Blame::Request, r#"{"error":{"message":"Rate limit reached for gpt-5","type":"tokens","code":"rate_limit_exceeded"}}"#),
        (429, Blame::Request, ""),
    ];
    for (status, expected, text) in cases {
        assert_eq!(blamed(StatusCode::from_u16(status).unwrap(), text), expected, "{status} {text}");
    }
}
