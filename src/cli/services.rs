//! Which services tasks may call: the flags that `serve` and `run` share.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;

use crate::integration::{HttpConnections, IntegrationOptions};

/// Who does tasks that neither a file of answers nor a handler does.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ServiceArgs {
    /// Call AWS's services at this address, or one of them: http://127.0.0.1:5000, lambda=http://127.0.0.1:9000. May be
    /// repeated, or hold several with commas between. AWS_ENDPOINT_URL and its like do as well. Logs of
    /// `serve` go to CloudWatch Logs if that has an address.
    #[arg(long, value_name = "[SERVICE=]URL", value_delimiter = ',', env = "QUICKSTEP_ENDPOINT", help_heading = SERVICES)]
    pub endpoint: Vec<String>,
    /// Call the services that have no --endpoint at AWS, with the credentials that AWS's own tools would find. Without it
    /// nothing is called that was not given an address.
    #[arg(long, env = "QUICKSTEP_AWS", value_parser = BoolishValueParser::new(), help_heading = SERVICES)]
    pub aws: bool,
    /// Do HTTP tasks (arn:aws:states:::http:invoke): a TOML file with `allow`, the addresses that they may call, and a table
    /// `[[connection]]` for each ConnectionArn, which has basic, api_key or oauth.
    #[arg(long, value_name = "FILE", env = "QUICKSTEP_HTTP_CONNECTIONS", help_heading = SERVICES)]
    pub http_connections: Option<PathBuf>,
}

const SERVICES: &str = "Services that tasks call";

impl ServiceArgs {
    /// Whether anything at all may be called: if not, there is nothing to be kept ready for it.
    pub(super) fn are_asked_for(&self) -> bool {
        let mut names = variables().map(|(name, _)| name);
        !self.endpoint.is_empty()
            || self.aws
            || self.http_connections.is_some()
            || names.any(|name| name.starts_with("AWS_ENDPOINT_URL"))
    }

    /// What they come to; `region` is called unless variables say otherwise.
    pub(super) fn options(&self, region: Option<&str>) -> Result<IntegrationOptions, String> {
        let options = IntegrationOptions::default();
        let options = options
            .services(&self.endpoint, variables(), region, self.aws)
            .map_err(|error| format!("--endpoint: {error}"))?;
        match &self.http_connections {
            None => Ok(options),
            Some(path) => {
                let connections = HttpConnections::open(path);
                let connections = connections.map_err(|error| {
                    format!("failed to read connections of HTTP tasks: {error}")
                })?;
                Ok(options.http(connections))
            }
        }
    }
}

/// The variables of this process; those that are no text are nobody's here.
fn variables() -> impl Iterator<Item = (String, String)> {
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
