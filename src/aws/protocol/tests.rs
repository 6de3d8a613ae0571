//! Requests, results and errors of each protocol, by data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use super::{Answer, Parts, failure, output, request};
use crate::aws::services::{Names, Service, Services};

fn service(name: &str) -> std::sync::Arc<Service> {
    Services::get().find(name).unwrap()
}

fn sent(name: &str, action: &str, parameters: &Value) -> Result<Parts, String> {
    let service = service(name);
    let operation = &service.operations[action];
    let token = || "TOKEN".to_owned();
    request(&service, operation, parameters, &token).map_err(|error| error.0)
}

fn text(parts: &Parts) -> &str {
    std::str::from_utf8(&parts.body).unwrap()
}

fn header<'p>(parts: &'p Parts, name: &str) -> Option<&'p str> {
    let found = parts.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn result(name: &str, action: &str, pairs: &[(&str, &str)], body: &str) -> Value {
    let service = service(name);
    let headers = headers(pairs);
    let answer = Answer {
        status: 200,
        headers: &headers,
        body: body.as_bytes(),
    };
    output(&service, &service.operations[action], answer, Names::Sdk).unwrap()
}

#[test]
fn json_bodies() {
    for (name, action, parameters, target, body) in [
        (
            "dynamodb",
            "putItem",
            json!({"TableName": "t", "Item": {"id": {"S": "1"}, "n": {"Bool": true}, "m": {"BOOL": false},
                "b": {"B": "hi"}, "z": {"Nul": true}, "l": {"L": [{"N": "1"}, {"M": {"Sub": {"Ss": ["a"]}}}]}}}),
            "DynamoDB_20120810.PutItem",
            json!({"TableName": "t", "Item": {"id": {"S": "1"}, "n": {"BOOL": true}, "m": {"BOOL": false},
                "b": {"B": "aGk="}, "z": {"NULL": true}, "l": {"L": [{"N": "1"}, {"M": {"Sub": {"SS": ["a"]}}}]}}}),
        ),
        (
            // JSON in a text.
            "sqs",
            "sendMessage",
            json!({"QueueUrl": "http://q", "MessageBody": {"a": [1, null]}, "DelaySeconds": 5.0}),
            "AmazonSQS.SendMessage",
            json!({"QueueUrl": "http://q", "MessageBody": "{\"a\":[1,null]}", "DelaySeconds": 5}),
        ),
        (
            // Names on the wire begin small; null is not sent.
            "sfn",
            "startExecution",
            json!({"StateMachineArn": "arn", "Input": {"x": 1}, "Name": null}),
            "AWSStepFunctions.StartExecution",
            json!({"stateMachineArn": "arn", "input": "{\"x\":1}"}),
        ),
        (
            "eventbridge",
            "putEvents",
            json!({"Entries": [{"Detail": {"a": 1}, "Time": "2030-01-01T00:00:00.500Z", "Source": "s"}]}),
            "AWSEvents.PutEvents",
            json!({"Entries": [{"Detail": "{\"a\":1}", "Time": 1_893_456_000.5, "Source": "s"}]}),
        ),
        (
            // A token that makes repeated requests one.
            "secretsmanager",
            "createSecret",
            json!({"Name": "n"}),
            "secretsmanager.CreateSecret",
            json!({"Name": "n", "ClientRequestToken": "TOKEN"}),
        ),
        (
            "ecs",
            "listClusters",
            json!({}),
            "AmazonEC2ContainerServiceV20141113.ListClusters",
            json!({}),
        ),
    ] {
        let parts = sent(name, action, &parameters).unwrap();
        assert_eq!((parts.method.as_str(), parts.path.as_str()), ("POST", "/"));
        assert_eq!(header(&parts, "x-amz-target"), Some(target));
        let content_type = header(&parts, "content-type").unwrap();
        assert!(
            content_type.starts_with("application/x-amz-json-1."),
            "{content_type}"
        );
        let found: Value = serde_json::from_slice(&parts.body).unwrap();
        assert_eq!(found, body, "{name} {action}");
    }
}

#[test]
fn forms() {
    for (name, action, parameters, body) in [
        (
            "sns",
            "publish",
            json!({"TopicArn": "arn:t", "Message": {"a": "ä &"},
                "MessageAttributes": {"k": {"DataType": "String", "StringValue": "v"}}}),
            "Action=Publish&Version=2010-03-31&TopicArn=arn%3At&Message=%7B%22a%22%3A%22%C3%A4%20%26%22%7D\
             &MessageAttributes.entry.1.Name=k&MessageAttributes.entry.1.Value.DataType=String\
             &MessageAttributes.entry.1.Value.StringValue=v",
        ),
        (
            "sts",
            "assumeRole",
            json!({"RoleArn": "r", "RoleSessionName": "s", "DurationSeconds": 900,
                "PolicyArns": [{"Arn": "a"}, {"Arn": "b"}]}),
            "Action=AssumeRole&Version=2011-06-15&RoleArn=r&RoleSessionName=s&PolicyArns.member.1.arn=a\
             &PolicyArns.member.2.arn=b&DurationSeconds=900",
        ),
        (
            // Items have a name of their own.
            "rds",
            "describeDBInstances",
            json!({"DbInstanceIdentifier": "d", "Filters": [{"Name": "n", "Values": ["x", "y"]}]}),
            "Action=DescribeDBInstances&Version=2014-10-31&DBInstanceIdentifier=d&Filters.Filter.1.Name=n\
             &Filters.Filter.1.Values.Value.1=x&Filters.Filter.1.Values.Value.2=y",
        ),
        (
            // An empty list is not none.
            "autoscaling",
            "describeAutoScalingGroups",
            json!({"AutoScalingGroupNames": []}),
            "Action=DescribeAutoScalingGroups&Version=2011-01-01&AutoScalingGroupNames=",
        ),
        (
            "ec2",
            "runInstances",
            json!({"ImageId": "ami", "MinCount": 1, "MaxCount": 2, "EbsOptimized": true, "ClientToken": "c",
                "SecurityGroupIds": ["a", "b"], "BlockDeviceMappings": [{"Ebs": {"VolumeSize": 8}}]}),
            "Action=RunInstances&Version=2016-11-15&BlockDeviceMapping.1.Ebs.VolumeSize=8&ImageId=ami&MaxCount=2\
             &MinCount=1&SecurityGroupId.1=a&SecurityGroupId.2=b&EbsOptimized=true&ClientToken=c",
        ),
    ] {
        let parts = sent(name, action, &parameters).unwrap();
        let sorted = |text: &str| {
            let mut pairs: Vec<String> = text.split('&').map(str::to_owned).collect();
            pairs.sort();
            pairs
        };
        assert_eq!(sorted(text(&parts)), sorted(body), "{name} {action}");
    }
}

#[test]
fn places_of_rest() {
    let parameters = json!({
        "FunctionName": "f:1", "Qualifier": "a b", "InvocationType": "Event", "Payload": {"x": [1]},
        "ClientContext": "c"
    });
    let parts = sent("lambda", "invoke", &parameters).unwrap();
    assert_eq!(parts.method, "POST");
    assert_eq!(
        parts.path,
        "/2015-03-31/functions/f%3A1/invocations?Qualifier=a%20b"
    );
    assert_eq!(header(&parts, "x-amz-invocation-type"), Some("Event"));
    assert_eq!(text(&parts), r#"{"x":[1]}"#);

    let parameters = json!({"RestApiId": "r", "Limit": 3, "Embed": ["a", "b"]});
    let parts = sent("apigateway", "getResources", &parameters).unwrap();
    assert_eq!(parts.method, "GET");
    assert_eq!(parts.path, "/restapis/r/resources?limit=3&embed=a&embed=b");
    assert!(parts.body.is_empty());

    // What is left of the parameters is the body.
    let parameters = json!({
        "JobName": "j", "JobQueue": "q", "JobDefinition": "d", "RetryStrategy": {"Attempts": 2}
    });
    let parts = sent("batch", "submitJob", &parameters).unwrap();
    assert_eq!(parts.path, "/v1/submitjob");
    let body: Value = serde_json::from_slice(&parts.body).unwrap();
    assert_eq!(
        body,
        json!({"jobName": "j", "jobQueue": "q", "jobDefinition": "d", "retryStrategy": {"attempts": 2}})
    );
}

#[test]
fn requests_of_s3() {
    let parameters = json!({
        "Bucket": "b", "Key": "a/b c.json", "Body": {"x": 1}, "ContentType": "application/json",
        "Metadata": {"Who": "me"}, "Expires": "2030-01-01T00:00:00Z", "SsekmsKeyId": "k"
    });
    let parts = sent("s3", "putObject", &parameters).unwrap();
    assert_eq!(
        (parts.method.as_str(), parts.path.as_str()),
        ("PUT", "/b/a/b%20c.json")
    );
    assert_eq!(text(&parts), r#"{"x":1}"#);
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-amz-meta-who", "me"),
        ("expires", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "k"),
    ] {
        assert_eq!(header(&parts, name), Some(value), "{name}");
    }

    let parameters = json!({
        "Bucket": "b", "Delete": {"Objects": [{"Key": "x<y"}, {"Key": "z"}], "Quiet": true}
    });
    let parts = sent("s3", "deleteObjects", &parameters).unwrap();
    assert_eq!(parts.path, "/b?delete");
    assert_eq!(
        text(&parts),
        "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>x&lt;y</Key></Object>\
         <Object><Key>z</Key></Object><Quiet>true</Quiet></Delete>"
    );
    let sum = STANDARD.encode(crc32fast::hash(&parts.body).to_be_bytes());
    assert_eq!(header(&parts, "x-amz-checksum-crc32"), Some(&*sum));

    // An attribute, and a namespace with a prefix.
    let parameters = json!({"Bucket": "b", "AccessControlPolicy": {"Grants": [
        {"Grantee": {"Type": "CanonicalUser", "Id": "i"}, "Permission": "READ"}
    ]}});
    let parts = sent("s3", "putBucketAcl", &parameters).unwrap();
    assert_eq!(
        text(&parts),
        "<AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><AccessControlList><Grant>\
         <Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>i</ID>\
         </Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>"
    );
}

#[test]
fn requests_of_route_53() {
    let parameters = json!({"HostedZoneId": "Z", "ChangeBatch": {"Changes": [{"Action": "CREATE",
        "ResourceRecordSet": {"Name": "n", "Type": "A", "Ttl": 60, "ResourceRecords": [{"Value": "1.2.3.4"}]}}]}});
    let parts = sent("route53", "changeResourceRecordSets", &parameters).unwrap();
    assert!(parts.path.starts_with("/2013-04-01/hostedzone/Z/rrset"));
    assert_eq!(
        text(&parts),
        "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch>\
         <Changes><Change><Action>CREATE</Action><ResourceRecordSet><Name>n</Name><Type>A</Type><TTL>60</TTL>\
         <ResourceRecords><ResourceRecord><Value>1.2.3.4</Value></ResourceRecord></ResourceRecords>\
         </ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
    );
}

#[test]
fn hosts_with_a_prefix() {
    let parameters = json!({"StateMachineArn": "a"});
    let parts = sent("sfn", "startSyncExecution", &parameters).unwrap();
    assert_eq!(parts.host_prefix.as_deref(), Some("sync-"));
    let parameters = json!({"AccountId": "123456789012"});
    let parts = sent("s3control", "getPublicAccessBlock", &parameters).unwrap();
    assert_eq!(parts.host_prefix.as_deref(), Some("123456789012."));
    let parameters = json!({"AccountId": "evil.com/"});
    assert!(sent("s3control", "getPublicAccessBlock", &parameters).is_err());
}

#[test]
fn parameters_that_cannot_be_sent() {
    let deep = (0..150).fold(json!({"S": "x"}), |inner, _| json!({"M": {"a": inner}}));
    for (name, action, parameters, error) in [
        (
            "dynamodb",
            "getItem",
            json!({"tableName": "t"}),
            "The field 'tableName' is not supported by Step Functions; it is spelled 'TableName'",
        ),
        (
            "dynamodb",
            "getItem",
            json!({"Key": {"id": {"s": "1"}}}),
            "The field 's' in 'Key.id' is not supported by Step Functions; it is spelled 'S'",
        ),
        (
            "dynamodb",
            "getItem",
            json!([]),
            "The parameters must be a STRUCTURE",
        ),
        (
            "dynamodb",
            "getItem",
            json!({"TableName": 5}),
            "The value for the field 'TableName' must be a STRING",
        ),
        (
            "dynamodb",
            "putItem",
            json!({"Item": {"a": {"L": [{"N": "1"}, {"N": 1}]}}}),
            "The value for the field 'Item.a.L.1.N' must be a STRING",
        ),
        (
            "dynamodb",
            "putItem",
            json!({"Item": {"a": deep}}),
            "The parameters nest more than 200 levels deep",
        ),
        (
            "sqs",
            "sendMessage",
            json!({"DelaySeconds": "5"}),
            "The value for the field 'DelaySeconds' must be an INTEGER",
        ),
        (
            "sqs",
            "receiveMessage",
            json!({"AttributeNames": "All"}),
            "The value for the field 'AttributeNames' must be an ARRAY",
        ),
    ] {
        assert_eq!(sent(name, action, &parameters), Err(error.to_owned()));
    }
}

#[test]
fn members_that_cannot_be_sent() {
    for (name, action, parameters, error) in [
        (
            "eventbridge",
            "putEvents",
            json!({"Entries": [{"Time": "today"}]}),
            "The value for the field 'Entries.0.Time' must be a TIMESTAMP, as 2030-01-31T12:00:00Z",
        ),
        (
            "lambda",
            "invoke",
            json!({}),
            "The field 'FunctionName' is required: it is a part of the address",
        ),
        (
            "s3",
            "putObject",
            json!({"Bucket": "b", "Key": "k", "ContentType": "a\r\nx-evil: 1"}),
            "The value for the field 'ContentType' must be fit for a header: without line ends and control characters",
        ),
        (
            "rds",
            "describeDBInstances",
            json!({"DBInstanceIdentifier": "a", "DbInstanceIdentifier": "b"}),
            "The field 'DbInstanceIdentifier' is given in two spellings",
        ),
    ] {
        assert_eq!(sent(name, action, &parameters), Err(error.to_owned()));
    }
}

#[test]
fn results_of_json() {
    let body = r#"{"Item":{"a":{"S":"x"},"f":{"BOOL":true},"b":{"B":"aGk="}},"New":1,"ConsumedCapacity":null}"#;
    assert_eq!(
        result("dynamodb", "getItem", &[], body),
        json!({"Item": {"a": {"S": "x"}, "f": {"Bool": true}, "b": {"B": "hi"}}})
    );
    let body = r#"{"executionArn":"arn","startDate":1.5E9}"#;
    assert_eq!(
        result("sfn", "startExecution", &[], body),
        json!({"ExecutionArn": "arn", "StartDate": "2017-07-14T02:40:00Z"})
    );
    assert_eq!(result("sqs", "deleteMessage", &[], ""), json!({}));
    assert_eq!(result("sqs", "receiveMessage", &[], "{}"), json!({}));
}

#[test]
fn results_of_rest_json() {
    let pairs = [
        ("x-amz-executed-version", "$LATEST"),
        ("x-amz-function-error", "Unhandled"),
    ];
    assert_eq!(
        result("lambda", "invoke", &pairs, r#"{"a":1}"#),
        json!({"StatusCode": 200, "ExecutedVersion": "$LATEST", "FunctionError": "Unhandled",
            "Payload": "{\"a\":1}"})
    );
    let body = r#"{"jobArn":"arn","jobName":"j","jobId":"i"}"#;
    assert_eq!(
        result("batch", "submitJob", &[], body),
        json!({"JobArn": "arn", "JobName": "j", "JobId": "i"})
    );
}

#[test]
fn results_of_xml() {
    let body = r#"<?xml version="1.0"?>
<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>a&amp;b &#65;</MessageId>
</PublishResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishResponse>"#;
    assert_eq!(
        result("sns", "publish", &[], body),
        json!({"MessageId": "a&b A"})
    );

    let body = "<R><DescribeDBInstancesResult><DBInstances><DBInstance><DBInstanceStatus>available</DBInstanceStatus>\
        <AllocatedStorage>20</AllocatedStorage><MultiAZ>true</MultiAZ>\
        <InstanceCreateTime>2030-01-01T00:00:00.000Z</InstanceCreateTime></DBInstance></DBInstances>\
        </DescribeDBInstancesResult></R>";
    assert_eq!(
        result("rds", "describeDBInstances", &[], body),
        json!({"DbInstances": [{"DbInstanceStatus": "available", "AllocatedStorage": 20, "MultiAZ": true,
            "InstanceCreateTime": "2030-01-01T00:00:00Z"}]})
    );

    let body = "<DescribeInstancesResponse><requestId>r</requestId><reservationSet><item><ownerId>o</ownerId>\
        <instancesSet><item><instanceId>i</instanceId><amiLaunchIndex>0</amiLaunchIndex>\
        <ebsOptimized>false</ebsOptimized></item></instancesSet></item></reservationSet></DescribeInstancesResponse>";
    assert_eq!(
        result("ec2", "describeInstances", &[], body),
        json!({"Reservations": [{"OwnerId": "o", "Instances": [
            {"InstanceId": "i", "AmiLaunchIndex": 0, "EbsOptimized": false}]}]})
    );
}

#[test]
fn results_of_s3() {
    let body = "<ListBucketResult><Name>b</Name><MaxKeys>2</MaxKeys><IsTruncated>false</IsTruncated>\
        <Contents><Key>x</Key><Size>3</Size><ETag>&quot;e&quot;</ETag></Contents><Contents><Key>y</Key></Contents>\
        <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>";
    assert_eq!(
        result("s3", "listObjectsV2", &[], body),
        json!({"Name": "b", "MaxKeys": 2, "IsTruncated": false, "CommonPrefixes": [{"Prefix": "p/"}],
            "Contents": [{"Key": "x", "Size": 3, "ETag": "\"e\""}, {"Key": "y"}]})
    );
    let body = "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">eu-west-1</LocationConstraint>";
    assert_eq!(
        result("s3", "getBucketLocation", &[], body),
        json!({"LocationConstraint": "eu-west-1"})
    );
    let pairs = [
        ("etag", "\"e\""),
        ("content-length", "2"),
        ("last-modified", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("x-amz-meta-who", "me"),
    ];
    assert_eq!(
        result("s3", "getObject", &pairs, "hi"),
        json!({"Body": "hi", "ETag": "\"e\"", "ContentLength": 2, "LastModified": "2030-01-01T00:00:00Z",
            "Metadata": {"who": "me"}})
    );
    // As AWS has answered: there are always metadata, and names with capital letters within keep them.
    let pairs = [("x-amz-checksum-crc32", "9NvfIQ==")];
    assert_eq!(
        result("s3", "getObject", &pairs, ""),
        json!({"Body": "", "ChecksumCRC32": "9NvfIQ==", "Metadata": {}})
    );
}

/// The MD5 of what AWS has put for a body: that is the entity tag of an object.
#[test]
fn bodies_of_s3_are_json() {
    for (body, tag) in [
        (json!(false), "68934a3e9455fa72420237eb05902327"),
        (json!(0), "cfcd208495d565ef66e7dff9f98764da"),
        (json!(["List", "Data"]), "6b23860357f6e63a0272b7f1143a663a"),
        (json!("text data"), "2b5df3712557f503a9977a8ea893b2c9"),
    ] {
        let parameters = json!({"Bucket": "b", "Key": "k", "Body": body});
        let parts = sent("s3", "putObject", &parameters).unwrap();
        let digest = Md5::digest(&parts.body);
        let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, tag, "{body}");
    }
}

#[test]
fn answers_that_are_none() {
    let headers = HeaderMap::new();
    let deep = "<a>".repeat(200);
    for (name, action, body, why) in [
        ("dynamodb", "getItem", "<html>", "it is not JSON: "),
        ("dynamodb", "getItem", "[]", "it is JSON, but no object"),
        ("sns", "publish", "{}", "it is not XML: "),
        ("sns", "publish", "<a><b>", "it is not XML: "),
        (
            "sns",
            "publish",
            "<a/><b/>",
            "it is not XML: it has two roots",
        ),
        (
            "sns",
            "publish",
            "<a>&evil;</a>",
            "it is not XML: it has an entity that is not XML's",
        ),
        ("sns", "publish", "\u{0}", "it is not XML: "),
        (
            "sns",
            "publish",
            &deep,
            "it is not XML: it nests more than 100 levels deep",
        ),
        ("s3", "listObjectsV2", "oops", "it is not XML: "),
    ] {
        let service = service(name);
        let answer = Answer {
            status: 200,
            headers: &headers,
            body: body.as_bytes(),
        };
        let operation = &service.operations[action];
        let error = output(&service, operation, answer, Names::Sdk).unwrap_err();
        assert!(error.starts_with(why), "{body}: {error}");
    }
}

#[test]
fn errors_of_services() {
    for (name, pairs, status, body, code, message, id) in [
        (
            "dynamodb",
            &[("x-amzn-requestid", "R")][..],
            400,
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no"}"#,
            "ResourceNotFoundException",
            "no",
            Some("R"),
        ),
        (
            "lambda",
            &[("x-amzn-errortype", "ResourceNotFoundException:http://x/")],
            404,
            r#"{"Type":"User","Message":"gone"}"#,
            "ResourceNotFoundException",
            "gone",
            None,
        ),
        (
            "sns",
            &[],
            404,
            "<ErrorResponse><Error><Type>Sender</Type><Code>NotFound</Code><Message>no &lt;topic&gt;</Message></Error>\
             <RequestId>R</RequestId></ErrorResponse>",
            "NotFound",
            "no <topic>",
            Some("R"),
        ),
        (
            "ec2",
            &[],
            400,
            "<Response><Errors><Error><Code>InvalidInstanceID.NotFound</Code><Message>m</Message></Error></Errors>\
             <RequestID>R</RequestID></Response>",
            "InvalidInstanceID.NotFound",
            "m",
            Some("R"),
        ),
        (
            "s3",
            &[("x-amz-request-id", "H")],
            404,
            "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>m</Message><RequestId>R</RequestId></Error>",
            "NoSuchKey",
            "m",
            Some("H"),
        ),
        ("s3", &[], 404, "", "NotFound", "", None),
        ("dynamodb", &[], 500, "<html>oops", "", "", None),
    ] {
        let headers = headers(pairs);
        let answer = Answer {
            status,
            headers: &headers,
            body: body.as_bytes(),
        };
        let problem = failure(&service(name), answer);
        let found = (&*problem.code, &*problem.message);
        assert_eq!(found, (code, message), "{body}");
        assert_eq!(problem.request_id.as_deref(), id, "{body}");
    }
}
