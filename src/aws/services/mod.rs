//! The services of AWS, as data: `services.bin`, made from botocore's models (Apache-2.0) by `scripts/aws-services`.
//!
//! A service's description is unpacked when it is first called, and kept. A new service is a newer table, no code.

mod model;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

pub use model::Names;
pub(crate) use model::{
    Checksum, HostRule, Kind, List, Location, Map, Member, Operation, Protocol, Service, Shape,
    Signing, Structure, TimestampFormat, first_upper,
};

static TABLE: &[u8] = include_bytes!("services.bin");

const MAGIC: &[u8] = b"QSAWS01\n";

/// More than any service's description takes, so that a damaged table cannot ask for all memory.
const DESCRIPTION_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Index {
    botocore: String,
    /// Where a description begins, how long it is packed, and how long otherwise.
    places: Vec<(usize, usize, usize)>,
    services: BTreeMap<Box<str>, usize>,
    /// By what else a service is known.
    aliases: BTreeMap<Box<str>, usize>,
}

/// The services that there are.
pub(crate) struct Services {
    index: Index,
    body: &'static [u8],
    unpacked: Vec<OnceLock<Arc<Service>>>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services")
            .field("botocore", &self.index.botocore)
            .finish_non_exhaustive()
    }
}

impl Services {
    /// The services of the table that this program has.
    ///
    /// # Panics
    ///
    /// If that table is not what the generator writes; tests read all of it.
    pub(crate) fn get() -> &'static Services {
        static SERVICES: OnceLock<Services> = OnceLock::new();
        SERVICES.get_or_init(|| match Services::read(TABLE) {
            Some(services) => services,
            None => panic!("the table of services is damaged"),
        })
    }

    fn read(table: &'static [u8]) -> Option<Services> {
        let rest = table.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (index, body) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let index: Index = serde_json::from_slice(&inflate(index)?).ok()?;
        let unpacked = index.places.iter().map(|_| OnceLock::new()).collect();
        Some(Services {
            index,
            body,
            unpacked,
        })
    }

    /// The version of botocore whose models these are.
    pub(crate) fn botocore(&self) -> &str {
        &self.index.botocore
    }

    /// The names of all services.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.index.services.keys().map(|name| &**name)
    }

    /// The service that resources call so: `dynamodb` in `arn:aws:states:::aws-sdk:dynamodb:getItem`.
    ///
    /// # Panics
    ///
    /// As [`Services::get`].
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Service>> {
        let number = *self.index.services.get(name)?;
        let service = self
            .unpacked
            .get(number)?
            .get_or_init(|| match self.unpack(number) {
                Some(service) => Arc::new(service),
                None => panic!("the description of {name} is damaged"),
            });
        Some(Arc::clone(service))
    }

    /// The number of a service by any of its names: that in resources, that of its host, that in AWS's other tools.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        let plain: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let known = self.index.services.get(plain.as_str());
        known
            .or_else(|| self.index.aliases.get(plain.as_str()))
            .copied()
    }

    fn unpack(&self, number: usize) -> Option<Service> {
        let &(start, length, _) = self.index.places.get(number)?;
        let packed = self.body.get(start..start.checked_add(length)?)?;
        serde_json::from_slice(&inflate(packed)?).ok()
    }
}

fn inflate(packed: &[u8]) -> Option<Vec<u8>> {
    miniz_oxide::inflate::decompress_to_vec_with_limit(packed, DESCRIPTION_BYTES_MAX).ok()
}

#[cfg(test)]
mod tests {
    use super::{Kind, Names, Protocol, Services, Shape};

    #[test]
    fn every_description_can_be_read() {
        let services = Services::get();
        let (mut count, mut operations) = (0, 0);
        for name in services.names() {
            let service = services.find(name).unwrap();
            assert!(!service.operations.is_empty(), "{name}");
            count += 1;
            operations += service.operations.len();
            for operation in service.operations.values() {
                for kind in [operation.input, operation.output].into_iter().flatten() {
                    assert!(service.structure(kind).is_some(), "{}", operation.name);
                }
            }
        }
        assert!(count > 400 && operations > 19_000, "{count} {operations}");
        assert_eq!(services.botocore().split('.').count(), 3);
        assert!(services.find("nosuch").is_none());
        for (alias, name) in [
            ("logs", "cloudwatchlogs"),
            ("stepfunctions", "sfn"),
            ("CloudWatch Logs", "cloudwatchlogs"),
            ("events", "eventbridge"),
            ("S3", "s3"),
        ] {
            assert_eq!(services.number(alias), services.number(name), "{alias}");
        }
        assert_eq!(services.number("nosuch"), None);
    }

    #[test]
    fn names_are_those_of_step_functions() {
        let services = Services::get();
        for (name, prefix, protocol) in [
            ("dynamodb", "DynamoDb", Protocol::Json),
            ("sqs", "Sqs", Protocol::Json),
            ("sfn", "Sfn", Protocol::Json),
            ("cloudwatchlogs", "CloudWatchLogs", Protocol::Json),
            ("sesv2", "SesV2", Protocol::RestJson),
            ("wafv2", "Wafv2", Protocol::Json),
            ("iot", "Iot", Protocol::RestJson),
            ("s3", "S3", Protocol::RestXml),
            ("sns", "Sns", Protocol::Query),
            (
                "elasticloadbalancingv2",
                "ElasticLoadBalancingV2",
                Protocol::Query,
            ),
            ("ec2", "Ec2", Protocol::Ec2),
            ("databasemigration", "DatabaseMigration", Protocol::Json),
        ] {
            let service = services.find(name).unwrap();
            assert_eq!((&*service.name, service.protocol), (prefix, protocol));
        }
        let rds = services.find("rds").unwrap();
        let operation = &rds.operations["describeDBInstances"];
        let input = rds.structure(operation.input.unwrap()).unwrap();
        let member = &input.members[0];
        assert_eq!(member.name(Names::Sdk), "DbInstanceIdentifier");
        assert_eq!(member.name(Names::Api), "DBInstanceIdentifier");
        for (name, is_known) in [
            ("DbInstanceIdentifier", true),
            ("DBInstanceIdentifier", true),
            ("dbInstanceIdentifier", false),
            ("", false),
        ] {
            assert_eq!(member.is_called(name), is_known, "{name}");
        }
        assert_eq!(
            &*rds.errors["DBInstanceNotFound"],
            "DbInstanceNotFoundException"
        );
        let sqs = services.find("sqs").unwrap();
        assert_eq!(
            &*sqs.errors["QueueDoesNotExist"],
            "QueueDoesNotExistException"
        );
    }

    #[test]
    fn shapes_may_hold_themselves() {
        let service = Services::get().find("dynamodb").unwrap();
        let input = service.operations["putItem"].input.unwrap();
        let item = &service.structure(input).unwrap().members[1];
        assert_eq!(item.api_name(), "Item");
        let Kind::Shape(map) = item.kind() else {
            panic!("{item:?}");
        };
        let Shape::Map(map) = service.shape(map) else {
            panic!("{item:?}");
        };
        let value = service.structure(map.value).unwrap();
        let map = value.members.iter().find(|member| member.api_name() == "M");
        assert!(matches!(map.unwrap().kind(), Kind::Shape(_)));
    }
}
