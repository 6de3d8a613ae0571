//! [`LocalMachines`]: the server's own API, as tasks of its executions call it.

use std::future::pending;
use std::sync::{Arc, Weak};

use tokio::sync::watch;

use super::app::App;
use super::error::ApiError;
use super::ids::Ids;
use super::operations::{self, Headers};
use super::protocol;
use crate::history::Failure;
use crate::integration::{Answer, Refusal, StateMachines};

/// The API of this process. Calls wait until there is a server: executions of an earlier process go on while it is put
/// together.
#[derive(Debug)]
pub(super) struct LocalMachines {
    app: watch::Sender<Option<Weak<App>>>,
    ids: Arc<Ids>,
}

impl LocalMachines {
    pub(super) fn new(ids: &Arc<Ids>) -> LocalMachines {
        LocalMachines {
            app: watch::Sender::new(None),
            ids: Arc::clone(ids),
        }
    }

    /// From now on there is a server.
    pub(super) fn are_of(&self, app: &Arc<App>) {
        self.app.send_replace(Some(Arc::downgrade(app)));
    }

    /// The server, once there is one. Nothing comes any more once there is none.
    fn app(&self) -> impl Future<Output = Arc<App>> + Send + use<> {
        let mut receiver = self.app.subscribe();
        async move {
            let found = receiver.wait_for(Option::is_some).await;
            let app = found.ok().and_then(|app| app.as_ref()?.upgrade());
            match app {
                Some(app) => app,
                // Whoever waits is called off, as all that is under way.
                None => pending().await,
            }
        }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Refusal {
        Refusal {
            code: error.code.to_owned(),
            message: error.message,
            status: error.status,
        }
    }
}

async fn perform(app: &App, operation: &str, mut body: Vec<u8>) -> Result<Vec<u8>, ApiError> {
    let reply = protocol::decoded(app, operation, Headers::default(), &mut body)?;
    operations::finish(app, reply).await
}

impl StateMachines for LocalMachines {
    fn call(&self, operation: String, body: Vec<u8>) -> Answer<Result<Vec<u8>, Refusal>> {
        let app = self.app();
        Box::pin(async move {
            let app = app.await;
            perform(&app, &operation, body).await.map_err(Refusal::from)
        })
    }

    fn ended(&self, execution_arn: String) -> Answer<Result<Vec<u8>, Refusal>> {
        let app = self.app();
        Box::pin(async move {
            let app = app.await;
            let live = operations::find_any(&app, &execution_arn)?;
            // The server must be able to end while this waits.
            let server = Arc::downgrade(&app);
            drop(app);
            live.wait().await;
            match server.upgrade() {
                Some(app) => Ok(operations::described(&app, &live)),
                // Whoever waits is called off, as all that is under way.
                None => pending().await,
            }
        })
    }

    fn stop(&self, execution_arn: String) -> Answer<()> {
        let app = self.app();
        Box::pin(async move {
            let app = app.await;
            if let Ok(live) = operations::find_any(&app, &execution_arn) {
                // Whoever calls it off does not wait for an answer.
                if let Err(error) = app.executor.stop(&live, Failure::default()).await {
                    tracing::warn!(
                        execution_arn,
                        why = error.message,
                        "a stop is not on the disk"
                    );
                }
            }
        })
    }

    fn request_id(&self) -> String {
        self.ids.uuid()
    }
}
