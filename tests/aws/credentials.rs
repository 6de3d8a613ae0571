//! Where keys come from, seen by the signature of a request; and how long they are kept.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use quickstep::internal::aws::{CallOptions, Client, Endpoints, Environment, ErrorKind, Role};
use serde_json::json;

use super::scripted::{Deed, Scripted, answer};

/// 2030-01-01.
const NOW: u64 = 1_893_456_000;

/// A server that is STS, whatever gives keys, and everything else. The keys that it gives are named after what asks.
fn server() -> Scripted {
    Scripted::start(|n, head| {
        let keys = |id: &str| {
            format!(
                r#"{{"AccessKeyId":"{id}","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-01T01:00:00Z"}}"#
            )
        };
        let line = head.lines().next().unwrap_or_default();
        Deed::Answer(match line.split(' ').nth(1).unwrap_or_default() {
            "/container" => {
                assert!(head.contains("authorization: secret-token\r\n"), "{head}");
                answer(200, "", keys("CONTAINER").as_bytes())
            }
            "/latest/api/token" => answer(200, "", b"IMDS"),
            "/latest/meta-data/iam/security-credentials/" => answer(200, "", b"role\n"),
            "/latest/meta-data/iam/security-credentials/role" => {
                assert!(
                    head.contains("x-aws-ec2-metadata-token: IMDS\r\n"),
                    "{head}"
                );
                answer(200, "", keys("INSTANCE").as_bytes())
            }
            "/sts/" => {
                let body = format!(
                    "<R><AssumeRoleResult><Credentials><AccessKeyId>STS{n}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                     <SessionToken>t</SessionToken><Expiration>2030-01-01T01:00:00Z</Expiration></Credentials>\
                     </AssumeRoleResult></R>"
                );
                answer(
                    200,
                    "",
                    body.replace("AssumeRoleResult", wrapper(head)).as_bytes(),
                )
            }
            _ => answer(200, "", b"{}"),
        })
    })
}

/// A request without a signature is that of a web identity.
fn wrapper(head: &str) -> &'static str {
    match head.contains("authorization: ") {
        true => "AssumeRoleResult",
        false => "AssumeRoleWithWebIdentityResult",
    }
}

struct Case {
    server: Scripted,
    client: Client,
    clock: Arc<AtomicU64>,
    runtime: tokio::runtime::Runtime,
    directory: PathBuf,
}

impl Case {
    /// A client with these variables, in which `URL` stands for the server and `DIR` for a directory with these files.
    fn new(
        name: &str,
        variables: &[(&str, &str)],
        files: &[(&str, &str)],
        has_endpoint: bool,
    ) -> Case {
        let server = server();
        let directory =
            std::env::temp_dir().join(format!("quickstep-keys-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let put = |text: &str| {
            let text = text.replace("URL", &server.url());
            text.replace("DIR", &directory.display().to_string())
        };
        for (name, text) in files {
            fs::write(directory.join(name), put(text)).unwrap();
        }
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), put(value)));
        let sts = format!("sts={}/sts", server.url());
        let sqs = format!("sqs={}", server.url());
        let endpoints = if has_endpoint {
            vec![sts, sqs]
        } else {
            vec![sts]
        };
        let clock = Arc::new(AtomicU64::new(NOW));
        let now = Arc::clone(&clock);
        let client = Client::builder()
            .environment(Environment::new(variables))
            .endpoints(Endpoints::parse(endpoints).unwrap())
            .now(move || SystemTime::UNIX_EPOCH + Duration::from_secs(now.load(Ordering::SeqCst)))
            .wait(|_| Duration::ZERO)
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Case {
            server,
            client,
            clock,
            runtime,
            directory,
        }
    }

    /// The access key that a call is signed with.
    fn key(&self, role: Option<&Role>) -> Result<String, String> {
        let options = CallOptions {
            role: role.cloned(),
            ..CallOptions::default()
        };
        let parameters = json!({});
        let call = self.client.call("sqs", "listQueues", &parameters, &options);
        self.runtime.block_on(call).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Credentials);
            error.message().to_owned()
        })?;
        let requests = self.server.requests();
        let last = requests.last().unwrap();
        let (_, rest) = last.split_once("Credential=").unwrap();
        Ok(rest.split('/').next().unwrap().to_owned())
    }

    fn calls_of_sts(&self) -> usize {
        let requests = self.server.requests();
        requests
            .iter()
            .filter(|request| request.starts_with("POST /sts/"))
            .count()
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).ok();
    }
}

const FILES: [(&str, &str); 4] = [
    (
        "config",
        "[default]\nregion=eu-west-1\n[profile chained]\nrole_arn=arn:r\nsource_profile=base\n\
            [profile base]\naws_access_key_id=BASE\naws_secret_access_key=s\n\
            [profile token]\nrole_arn=arn:r\nweb_identity_token_file=DIR/token\n\
            [profile process]\ncredential_process=cat DIR/process\n\
            [profile container]\nrole_arn=arn:r\ncredential_source=EcsContainer\n\
            [profile again]\nrole_arn=arn:r\nsource_profile=again\naws_access_key_id=AGAIN\naws_secret_access_key=s\n\
            [profile circle]\nrole_arn=arn:r\nsource_profile=circle2\n[profile circle2]\nrole_arn=arn:r\n\
            source_profile=circle\n[profile sso]\nsso_session=x\n[profile half]\nrole_arn=arn:r\n\
            [profile endless]\ncredential_process=yes SECRET\n\
            [profile failing]\ncredential_process=echo SECRET >&2; exit 3\n",
    ),
    (
        "credentials",
        "[default]\naws_access_key_id=FILE\naws_secret_access_key=s\n",
    ),
    ("token", "secret-token\n"),
    (
        "process",
        r#"{"Version":1,"AccessKeyId":"PROCESS","SecretAccessKey":"s"}"#,
    ),
];

type Variables = &'static [(&'static str, &'static str)];

const IN_FILES: Variables = &[
    ("AWS_CONFIG_FILE", "DIR/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "DIR/credentials"),
];

const CONTAINER: Variables = &[
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "URL/container"),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "DIR/token"),
];

fn profile(name: &'static str) -> Vec<(&'static str, &'static str)> {
    [IN_FILES, CONTAINER, &[("AWS_PROFILE", name)]].concat()
}

#[test]
fn the_chain() {
    let own: Variables = &[("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let web: Variables = &[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "DIR/token"),
        ("AWS_ROLE_ARN", "arn:r"),
    ];
    for (name, variables, key) in [
        ("variables", [own, IN_FILES].concat(), "ENV"),
        ("file", [IN_FILES, CONTAINER].concat(), "FILE"),
        ("chained", profile("chained"), "STS0"),
        ("token", profile("token"), "STS0"),
        ("process", profile("process"), "PROCESS"),
        ("source", profile("container"), "STS1"),
        ("again", profile("again"), "STS0"),
        ("web", [web, CONTAINER].concat(), "STS0"),
        ("container", CONTAINER.to_vec(), "CONTAINER"),
        ("nothing", Vec::new(), "test"),
    ] {
        let case = Case::new(name, &variables, &FILES, true);
        assert_eq!(case.key(None).as_deref(), Ok(key), "{name}");
    }
}

#[test]
fn chains_that_lead_nowhere() {
    let abroad = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/x");
    for (name, variables, why) in [
        ("unknown", profile("nosuch"), "there is no profile 'nosuch'"),
        (
            "circle",
            profile("circle"),
            "more than 10 profiles lead to each other",
        ),
        (
            "sso",
            profile("sso"),
            "the profile 'sso' signs in with SSO, which is not supported",
        ),
        (
            "half",
            profile("half"),
            "the profile 'half' has a role_arn, but neither",
        ),
        (
            "endless",
            profile("endless"),
            "the credential_process of the profile 'endless' printed more than 65536 bytes",
        ),
        (
            "failing",
            profile("failing"),
            "the credential_process of the profile 'failing' failed: exit status: 3",
        ),
        (
            "abroad",
            vec![abroad],
            "AWS_CONTAINER_CREDENTIALS_FULL_URI is http://example.com/x",
        ),
    ] {
        let case = Case::new(name, &variables, &FILES, true);
        let found = case.key(None).unwrap_err();
        assert!(found.starts_with(why), "{name}: {found}");
        assert!(!found.contains("SECRET"), "{name}: {found}");
    }
}

#[test]
fn an_instance_is_asked_if_aws_is_called() {
    let variables = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "URL/"),
        ("AWS_ENDPOINT_URL_SQS", "URL"),
    ];
    // Whoever calls something else than AWS does not wait for an instance.
    let case = Case::new("elsewhere", &variables, &[], true);
    assert_eq!(case.key(None).unwrap(), "test");
    assert_eq!(case.server.requests().len(), 1);
    // The source that a profile names is asked.
    let config = [(
        "config",
        "[default]\nrole_arn=arn:r\ncredential_source=Ec2InstanceMetadata\n",
    )];
    let variables = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "URL"),
        ("AWS_CONFIG_FILE", "DIR/config"),
    ];
    let case = Case::new("instance", &variables, &config, true);
    assert_eq!(case.key(None).unwrap(), "STS3");
    let requests = case.server.requests();
    assert!(
        requests[0].starts_with("PUT /latest/api/token "),
        "{}",
        requests[0]
    );
    assert!(
        requests[3].contains("Credential=INSTANCE/"),
        "{}",
        requests[3]
    );
}

#[test]
fn keys_of_roles_are_kept_while_they_last() {
    let own = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let case = Case::new("kept", &own, &[], true);
    let role = Role::new("arn:aws:iam::1:role/a");
    let other = Role {
        external_id: Some("e".to_owned()),
        ..role.clone()
    };
    for _ in 0..3 {
        assert_eq!(case.key(Some(&role)).unwrap(), "STS0");
    }
    assert_eq!(case.key(None).unwrap(), "ENV");
    assert_eq!(case.calls_of_sts(), 1);
    assert_ne!(case.key(Some(&other)).unwrap(), "STS0");
    assert_eq!(case.calls_of_sts(), 2);
    let request = case
        .server
        .requests()
        .into_iter()
        .find(|r| r.contains("ExternalId=e"))
        .unwrap();
    assert!(
        request.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa"),
        "{request}"
    );
    assert!(request.contains("Credential=ENV/"), "{request}");
    // Five minutes before their end there are new ones.
    case.clock.store(NOW + 3_600 - 299, Ordering::SeqCst);
    let renewed = case.key(Some(&role)).unwrap();
    assert_ne!(renewed, "STS0");
    assert_eq!(case.calls_of_sts(), 3);
}
