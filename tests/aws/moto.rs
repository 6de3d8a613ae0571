//! moto, a server that stands in for AWS: a call of each protocol that succeeds, its effect seen by another, and one that
//! fails. `scripts/test` installs it in `target/clients/moto`; where it is not, these tests say so and do nothing.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::thread;

use quickstep::internal::aws::{CallOptions, Client, Endpoints, Error, Keys, Names, Role};
use serde_json::{Value, json};

use super::scripted::PATIENCE;

/// moto, for all tests of this file; it ends with them, as its standard input does.
struct Moto {
    url: String,
    _process: Child,
}

/// Ends the server when the tests' process ends, however it does.
const PROGRAM: &str = "
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(['-H', '127.0.0.1', '-p', '0'])
";

fn start() -> Option<Moto> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/clients/moto/bin/python");
    if !python.exists() {
        eprintln!("no moto in target/clients/moto (scripts/test installs it): not tested");
        return None;
    }
    let mut process = Command::new(python)
        .args(["-B", "-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let (sender, urls) = channel();
    thread::spawn(move || {
        // Read to its end, so that the server never waits for who reads it.
        for line in lines.map_while(Result::ok) {
            if let Some((_, url)) = line.split_once("Running on ") {
                sender.send(url.trim().to_owned()).ok();
            }
        }
    });
    let url = urls.recv_timeout(PATIENCE).unwrap();
    Some(Moto {
        url,
        _process: process,
    })
}

/// A client of moto.
pub(super) struct Caller {
    pub(super) url: &'static str,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Caller {
    pub(super) fn get() -> Option<Caller> {
        static MOTO: OnceLock<Option<Moto>> = OnceLock::new();
        let moto = MOTO.get_or_init(start).as_ref()?;
        let client = Client::builder()
            .endpoints(Endpoints::parse([&moto.url]).unwrap())
            .keys(Keys::new("AKIDEXAMPLE", "secret", None))
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Some(Caller {
            url: &moto.url,
            client,
            runtime,
        })
    }

    pub(super) fn call(&self, service: &str, action: &str, parameters: Value) -> Value {
        match self.with(service, action, &parameters, &CallOptions::default()) {
            Ok(value) => value,
            Err(error) => panic!("{service}:{action}: {error}"),
        }
    }

    fn error(&self, service: &str, action: &str, parameters: Value) -> Error {
        let options = CallOptions::default();
        let result = self.with(service, action, &parameters, &options);
        let error = result.unwrap_err();
        assert!(error.status().is_some(), "{error}");
        error
    }

    fn with(
        &self,
        service: &str,
        action: &str,
        parameters: &Value,
        options: &CallOptions,
    ) -> Result<Value, Error> {
        let call = self.client.call(service, action, parameters, options);
        self.runtime.block_on(call)
    }
}

#[test]
fn json_1_0_dynamodb() {
    let Some(caller) = Caller::get() else { return };
    caller.call(
        "dynamodb",
        "createTable",
        json!({
            "TableName": "orders", "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}]
        }),
    );
    let item = json!({"id": {"S": "1"}, "n": {"N": "2.5"}, "ok": {"Bool": true}, "raw": {"B": "hi"},
        "tags": {"Ss": ["a", "b"]}, "m": {"M": {"l": {"L": [{"S": "x"}]}}}});
    let put = json!({"TableName": "orders", "Item": item, "ConditionExpression": "attribute_not_exists(id)"});
    caller.call("dynamodb", "putItem", put.clone());
    let key = json!({"TableName": "orders", "Key": {"id": {"S": "1"}}});
    let found = caller.call("dynamodb", "getItem", key.clone());
    assert_eq!(found["Item"], item);
    // The names of the API, as the optimised integration has them.
    let options = CallOptions {
        names: Names::Api,
        ..CallOptions::default()
    };
    let found = caller.with("dynamodb", "getItem", &key, &options).unwrap();
    assert_eq!(found["Item"]["ok"], json!({"BOOL": true}));
    assert_eq!(found["Item"]["tags"], json!({"SS": ["a", "b"]}));

    let error = caller.error("dynamodb", "putItem", put);
    assert_eq!(error.name(), "DynamoDb.ConditionalCheckFailedException");
    assert_eq!(error.status(), Some(400));
    assert!(error.request_id().is_some());
    let error = caller.error("dynamodb", "describeTable", json!({"TableName": "nosuch"}));
    assert_eq!(error.name(), "DynamoDb.ResourceNotFoundException");
}

#[test]
fn json_1_0_sqs() {
    let Some(caller) = Caller::get() else { return };
    let queue = caller.call(
        "sqs",
        "createQueue",
        json!({"QueueName": "jobs", "Attributes": {"DelaySeconds": "0"}}),
    );
    let url = queue["QueueUrl"].as_str().unwrap();
    let sent = caller.call(
        "sqs",
        "sendMessage",
        json!({"QueueUrl": url, "MessageBody": {"order": 7},
            "MessageAttributes": {"k": {"DataType": "String", "StringValue": "v"}}}),
    );
    let received = caller.call(
        "sqs",
        "receiveMessage",
        json!({"QueueUrl": url, "MessageAttributeNames": ["All"]}),
    );
    let message = &received["Messages"][0];
    assert_eq!(message["Body"], r#"{"order":7}"#);
    assert_eq!(message["MessageId"], sent["MessageId"]);
    assert_eq!(message["MessageAttributes"]["k"]["StringValue"], "v");
    let error = caller.error("sqs", "getQueueUrl", json!({"QueueName": "nosuch"}));
    assert_eq!(error.name(), "Sqs.QueueDoesNotExistException");
}

#[test]
fn json_1_1() {
    let Some(caller) = Caller::get() else { return };
    let created = caller.call(
        "secretsmanager",
        "createSecret",
        json!({"Name": "s", "SecretString": {"user": "u"}}),
    );
    let found = caller.call(
        "secretsmanager",
        "getSecretValue",
        json!({"SecretId": created["Arn"]}),
    );
    assert_eq!(found["SecretString"], r#"{"user":"u"}"#);
    let date = found["CreatedDate"].as_str().unwrap();
    assert!(date.starts_with("20") && date.ends_with('Z'), "{date}");
    let error = caller.error(
        "secretsmanager",
        "getSecretValue",
        json!({"SecretId": "nosuch"}),
    );
    assert_eq!(error.name(), "SecretsManager.ResourceNotFoundException");

    let key = caller.call("kms", "createKey", json!({"Description": "d"}));
    let id = &key["KeyMetadata"]["KeyId"];
    let described = caller.call("kms", "describeKey", json!({"KeyId": id}));
    assert_eq!(described["KeyMetadata"]["Description"], "d");
    let error = caller.error("kms", "describeKey", json!({"KeyId": "alias/nosuch"}));
    assert_eq!(error.name(), "Kms.NotFoundException");
}

#[test]
fn rest_json() {
    let Some(caller) = Caller::get() else { return };
    let created = caller.call(
        "apigateway",
        "createRestApi",
        json!({"Name": "a", "Description": "d"}),
    );
    let id = &created["Id"];
    let found = caller.call("apigateway", "getRestApi", json!({"RestApiId": id}));
    assert_eq!(
        (&found["Name"], &found["Description"]),
        (&json!("a"), &json!("d"))
    );
    let found = caller.call("apigateway", "getRestApis", json!({"Limit": 5}));
    assert!(
        found["Items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|api| api["Id"] == *id)
    );
    caller.call("apigateway", "deleteRestApi", json!({"RestApiId": id}));
    let error = caller.error("apigateway", "getRestApi", json!({"RestApiId": id}));
    assert_eq!(error.name(), "ApiGateway.NotFoundException");

    let error = caller.error("lambda", "getFunction", json!({"FunctionName": "nosuch"}));
    assert_eq!(error.name(), "Lambda.ResourceNotFoundException");
    assert_eq!(error.status(), Some(404));
}

#[test]
fn query() {
    let Some(caller) = Caller::get() else { return };
    let topic = caller.call(
        "sns",
        "createTopic",
        json!({"Name": "t", "Attributes": {"DisplayName": "d & e"}}),
    );
    let arn = &topic["TopicArn"];
    let queue = caller.call("sqs", "createQueue", json!({"QueueName": "of-topic"}));
    let url = &queue["QueueUrl"];
    let attributes = json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]});
    let attributes = caller.call("sqs", "getQueueAttributes", attributes);
    caller.call(
        "sns",
        "subscribe",
        json!({"TopicArn": arn, "Protocol": "sqs", "Endpoint": attributes["Attributes"]["QueueArn"],
            "Attributes": {"RawMessageDelivery": "true"}}),
    );
    let published = caller.call(
        "sns",
        "publish",
        json!({"TopicArn": arn, "Message": {"text": "ä & <b>"}}),
    );
    assert!(published["MessageId"].is_string());
    let received = caller.call("sqs", "receiveMessage", json!({"QueueUrl": url}));
    assert_eq!(received["Messages"][0]["Body"], r#"{"text":"ä & <b>"}"#);
    let found = caller.call("sns", "getTopicAttributes", json!({"TopicArn": arn}));
    assert_eq!(found["Attributes"]["DisplayName"], "d & e");
    let missing = "arn:aws:sns:us-east-1:123456789012:nosuch";
    let error = caller.error("sns", "getTopicAttributes", json!({"TopicArn": missing}));
    assert_eq!(error.name(), "Sns.NotFoundException");

    let document = json!({"Version": "2012-10-17", "Statement": []});
    caller.call(
        "iam",
        "createRole",
        json!({"RoleName": "r", "AssumeRolePolicyDocument": document,
        "Tags": [{"Key": "a", "Value": "b"}]}),
    );
    let found = caller.call("iam", "getRole", json!({"RoleName": "r"}));
    assert_eq!(found["Role"]["Tags"], json!([{"Key": "a", "Value": "b"}]));
    let error = caller.error("iam", "getRole", json!({"RoleName": "nosuch"}));
    assert_eq!(error.name(), "Iam.NoSuchEntityException");
}

#[test]
fn roles() {
    let Some(caller) = Caller::get() else { return };
    let own = caller.call("sts", "getCallerIdentity", json!({}));
    assert!(own["Arn"].is_string());
    let options = CallOptions {
        role: Some(Role {
            session_name: Some("session".to_owned()),
            ..Role::new("arn:aws:iam::123456789012:role/caller")
        }),
        ..CallOptions::default()
    };
    let found = caller
        .with("sts", "getCallerIdentity", &json!({}), &options)
        .unwrap();
    assert_eq!(
        found["Arn"],
        "arn:aws:sts::123456789012:assumed-role/caller/session"
    );
}

#[test]
fn ec2() {
    let Some(caller) = Caller::get() else { return };
    let created = caller.call(
        "ec2",
        "createVpc",
        json!({"CidrBlock": "10.7.0.0/16", "TagSpecifications": [
            {"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "mine"}]}]}),
    );
    let id = &created["Vpc"]["VpcId"];
    let filter = json!({"Filters": [{"Name": "tag:Name", "Values": ["mine"]}], "VpcIds": [id]});
    let found = caller.call("ec2", "describeVpcs", filter);
    assert_eq!(found["Vpcs"][0]["CidrBlock"], "10.7.0.0/16");
    assert_eq!(found["Vpcs"][0]["IsDefault"], false);
    assert_eq!(
        found["Vpcs"][0]["Tags"],
        json!([{"Key": "Name", "Value": "mine"}])
    );
    let error = caller.error("ec2", "describeVpcs", json!({"VpcIds": ["vpc-nosuch"]}));
    assert_eq!(error.name(), "Ec2.Ec2Exception");
    assert_eq!(error.code(), Some("InvalidVpcID.NotFound"));
}

#[test]
fn rest_xml() {
    let Some(caller) = Caller::get() else { return };
    caller.call("s3", "createBucket", json!({"Bucket": "things"}));
    let put = json!({"Bucket": "things", "Key": "a/b c+ä.json", "Body": {"x": [1]}, "ContentType": "application/json",
        "Metadata": {"who": "me"}});
    let put = caller.call("s3", "putObject", put);
    let found = caller.call(
        "s3",
        "getObject",
        json!({"Bucket": "things", "Key": "a/b c+ä.json"}),
    );
    assert_eq!(found["Body"], r#"{"x":[1]}"#);
    assert_eq!(found["ETag"], put["ETag"]);
    assert_eq!(found["Metadata"], json!({"who": "me"}));
    assert_eq!(found["ContentType"], "application/json");
    assert_eq!(found["ContentLength"], 9);
    let found = caller.call(
        "s3",
        "listObjectsV2",
        json!({"Bucket": "things", "Prefix": "a/", "MaxKeys": 10}),
    );
    assert_eq!(found["Contents"][0]["Key"], "a/b c+ä.json");
    assert_eq!(found["KeyCount"], 1);
    let objects = json!([{"Key": "a/b c+ä.json"}, {"Key": "other"}]);
    let delete = json!({"Bucket": "things", "Delete": {"Objects": objects}});
    let deleted = caller.call("s3", "deleteObjects", delete);
    assert_eq!(deleted["Deleted"].as_array().unwrap().len(), 2);
    let error = caller.error(
        "s3",
        "getObject",
        json!({"Bucket": "things", "Key": "a/b c+ä.json"}),
    );
    assert_eq!(
        (error.name(), error.status()),
        ("S3.NoSuchKeyException", Some(404))
    );
    let error = caller.error(
        "s3",
        "headObject",
        json!({"Bucket": "things", "Key": "nosuch"}),
    );
    assert_eq!(error.status(), Some(404));
    let error = caller.error("s3", "listObjectsV2", json!({"Bucket": "nosuch"}));
    assert_eq!(error.name(), "S3.NoSuchBucketException");

    let zone = json!({"Name": "example.com", "CallerReference": "c"});
    let zone = caller.call("route53", "createHostedZone", zone);
    let id = zone["HostedZone"]["Id"].as_str().unwrap();
    let id = id.rsplit('/').next().unwrap();
    let records = json!([{"Value": "1.2.3.4"}]);
    let set =
        json!({"Name": "www.example.com", "Type": "A", "Ttl": 60, "ResourceRecords": records});
    let changes = json!([{"Action": "CREATE", "ResourceRecordSet": set}]);
    let change = json!({"HostedZoneId": id, "ChangeBatch": {"Changes": changes}});
    caller.call("route53", "changeResourceRecordSets", change);
    let found = caller.call(
        "route53",
        "listResourceRecordSets",
        json!({"HostedZoneId": id}),
    );
    let sets = found["ResourceRecordSets"].as_array().unwrap();
    let own = sets.iter().find(|set| set["Type"] == "A").unwrap();
    assert_eq!(
        (&own["Ttl"], &own["ResourceRecords"]),
        (&json!(60), &records)
    );
    let error = caller.error("route53", "getHostedZone", json!({"Id": "ZNOSUCH"}));
    assert_eq!(error.name(), "Route53.NoSuchHostedZoneException");
}
