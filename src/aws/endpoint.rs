//! Where services are: AWS's hosts by region, and addresses that somebody has given instead.

use std::collections::BTreeMap;
use std::fmt;

use super::profile::Environment;
use super::services::{HostRule, Service, Services};

/// Addresses that are called instead of AWS's: one for all services, and one for some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    all: Option<Box<str>>,
    by_service: BTreeMap<usize, Box<str>>,
}

/// Why an endpoint is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointError(String);

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EndpointError {}

impl Endpoints {
    /// Endpoints as flags give them: `URL`, or `SERVICE=URL`.
    ///
    /// # Errors
    ///
    /// If one is no address, or names a service that there is not.
    pub fn parse<T: AsRef<str>>(
        values: impl IntoIterator<Item = T>,
    ) -> Result<Endpoints, EndpointError> {
        let mut out = Endpoints::default();
        for value in values {
            let value = value.as_ref();
            let (service, url) = match value.split_once('=') {
                Some((service, url)) if !service.contains("://") => (Some(service), url),
                _ => (None, value),
            };
            let url = check(url).map_err(EndpointError)?;
            match service {
                None => out.all = Some(url),
                Some(name) => {
                    let number = Services::get()
                        .number(name)
                        .ok_or_else(|| EndpointError(format!("there is no service '{name}'")))?;
                    out.by_service.insert(number, url);
                }
            }
        }
        Ok(out)
    }

    /// Whether any service is called somewhere else.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_none() && self.by_service.is_empty()
    }

    fn of(&self, service: &str) -> Option<&str> {
        let number = Services::get().number(service);
        let own = number.and_then(|number| self.by_service.get(&number));
        own.or(self.all.as_ref()).map(|url| &**url)
    }
}

/// An address without what is too much at its end.
fn check(url: &str) -> Result<Box<str>, String> {
    // A name and a password that stand before the host are not shown.
    let shown = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
    let wrong = |why: &str| format!("'{shown}' is no address of a service: {why}");
    let uri: hyper::Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(wrong("names and passwords do not belong into an address"));
    }
    if uri.query().is_some() {
        return Err(wrong("it has a query string"));
    }
    Ok(url.trim_end_matches('/').into())
}

/// Where a call goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// Scheme, host and the beginning of the path, without a slash at its end.
    pub(super) base: String,
    /// The region that the request is signed for.
    pub(super) region: String,
    /// The name that it is signed for.
    pub(super) signing_name: String,
    /// Whether somebody has given the address.
    pub(super) is_given: bool,
}

impl Target {
    /// The address of a path; hosts that AWS has not given are left as they are.
    pub(super) fn url(&self, host_prefix: Option<&str>, path: &str) -> String {
        match host_prefix.filter(|_| !self.is_given) {
            Some(prefix) => match self.base.split_once("://") {
                Some((scheme, host)) => format!("{scheme}://{prefix}{host}{path}"),
                None => format!("{}{path}", self.base),
            },
            None => format!("{}{path}", self.base),
        }
    }
}

/// Where a service is, as seen from a region.
///
/// # Errors
///
/// If the environment gives an address that is none, or the region is none.
pub(super) fn target(
    service: &Service,
    region: &str,
    given: &Endpoints,
    environment: &Environment,
) -> Result<Target, String> {
    let is_region = region
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if region.is_empty() || !is_region {
        return Err(format!("'{region}' is no region"));
    }
    let url = match given.of(&service.id) {
        Some(url) => Some(Box::from(url)),
        None => environment.endpoint(&service.id).map(check).transpose()?,
    };
    let rule = rule(service, region);
    let signed_region = rule.and_then(|rule| rule.1.as_deref()).unwrap_or(region);
    let signing_name = rule.and_then(|rule| rule.2.as_deref());
    let (base, is_given) = match (url, rule) {
        (Some(url), _) => (url.into_string(), true),
        (None, Some(rule)) => {
            let host = rule.0.replace("{region}", region);
            (format!("https://{host}"), false)
        }
        (None, None) => {
            let suffix = partition(region).1;
            let prefix = &service.endpoint_prefix;
            (format!("https://{prefix}.{region}.{suffix}"), false)
        }
    };
    Ok(Target {
        base,
        region: signed_region.to_owned(),
        signing_name: signing_name.unwrap_or(service.signing_name()).to_owned(),
        is_given,
    })
}

fn rule<'s>(service: &'s Service, region: &str) -> Option<&'s HostRule> {
    let own = service.hosts.get(region);
    own.or_else(|| service.hosts.get(partition(region).0))
}

/// The partition of a region, and what its hosts' names end with.
fn partition(region: &str) -> (&'static str, &'static str) {
    let of = |prefix: &str| region.starts_with(prefix);
    if of("cn-") {
        ("aws-cn", "amazonaws.com.cn")
    } else if of("us-gov-") {
        ("aws-us-gov", "amazonaws.com")
    } else if of("us-isob-") {
        ("aws-iso-b", "sc2s.sgov.gov")
    } else if of("us-isof-") {
        ("aws-iso-f", "csp.hci.ic.gov")
    } else if of("us-iso-") {
        ("aws-iso", "c2s.ic.gov")
    } else if of("eu-isoe-") {
        ("aws-iso-e", "cloud.adc-e.uk")
    } else if of("eusc-") {
        ("aws-eusc", "amazonaws.eu")
    } else {
        ("aws", "amazonaws.com")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment::new(variables.iter().map(own))
    }

    #[test]
    fn hosts_of_aws() {
        for (service, region, base, signed) in [
            (
                "dynamodb",
                "eu-west-1",
                "https://dynamodb.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            (
                "cloudwatchlogs",
                "us-east-1",
                "https://logs.us-east-1.amazonaws.com",
                "us-east-1",
            ),
            (
                "sqs",
                "cn-north-1",
                "https://sqs.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
            ("iam", "eu-west-1", "https://iam.amazonaws.com", "us-east-1"),
            ("iam", "us-east-1", "https://iam.amazonaws.com", "us-east-1"),
            (
                "route53",
                "cn-north-1",
                "https://route53.amazonaws.com.cn",
                "cn-northwest-1",
            ),
            (
                "lambda",
                "us-gov-west-1",
                "https://lambda.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
            ),
        ] {
            let service = Services::get().find(service).unwrap();
            let target =
                target(&service, region, &Endpoints::default(), &environment(&[])).unwrap();
            assert_eq!((&*target.base, &*target.region), (base, signed));
            assert!(!target.is_given);
        }
        let sfn = Services::get().find("sfn").unwrap();
        let target = target(&sfn, "eu-west-1", &Endpoints::default(), &environment(&[])).unwrap();
        assert_eq!(target.signing_name, "states");
        assert_eq!(
            target.url(Some("sync-"), "/"),
            "https://sync-states.eu-west-1.amazonaws.com/"
        );
    }

    #[test]
    fn addresses_that_are_given() {
        let flags = [
            "http://localhost:4566/",
            "lambda=https://h:1/base",
            "logs=http://l",
        ];
        let given = Endpoints::parse(flags).unwrap();
        let variables = environment(&[("AWS_ENDPOINT_URL_SQS", "http://variable")]);
        for (service, base) in [
            ("sqs", "http://localhost:4566"),
            ("lambda", "https://h:1/base"),
            ("cloudwatchlogs", "http://l"),
        ] {
            let service = Services::get().find(service).unwrap();
            let target = target(&service, "us-east-1", &given, &variables).unwrap();
            assert_eq!(target.base, base);
            assert_eq!(target.url(Some("sync-"), "/x"), format!("{base}/x"));
        }
        let sqs = Services::get().find("sqs").unwrap();
        let target = target(&sqs, "us-east-1", &Endpoints::default(), &variables).unwrap();
        assert_eq!(target.base, "http://variable");
    }

    #[test]
    fn addresses_that_are_none() {
        for (value, why) in [
            (
                "localhost:4566",
                "it begins with neither http:// nor https://",
            ),
            ("nosuch=http://a", "there is no service 'nosuch'"),
            ("http://a/?x=y", "it has a query string"),
            (
                "http://me:secret@a/",
                "'a/' is no address of a service: names and passwords do not belong into an address",
            ),
            ("sqs=", "it is no URL"),
        ] {
            let error = Endpoints::parse([value]).unwrap_err().to_string();
            assert!(error.ends_with(why), "{value}: {error}");
        }
        let sqs = Services::get().find("sqs").unwrap();
        for region in ["", "a.evil.com/", "us east"] {
            assert!(target(&sqs, region, &Endpoints::default(), &environment(&[])).is_err());
        }
        let variables = environment(&[("AWS_ENDPOINT_URL", "nowhere")]);
        assert!(target(&sqs, "us-east-1", &Endpoints::default(), &variables).is_err());
    }
}
