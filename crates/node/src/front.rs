//! One service for all that a node answers: a call goes to the node's own services or to the manager, if there is one here.
//! Which manager that is changes when the node is promoted or demoted; the listeners stay.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tower::{Service, ServiceExt};

/// Where the manager's services are put, and taken away.
#[derive(Clone, Default)]
pub struct ManagerSlot {
    routes: Arc<ArcSwapOption<Shelf>>,
    absence: Arc<ArcSwapOption<Absence>>,
}

/// Why there is no manager, and whether there will be one soon.
struct Absence {
    reason: String,
    passing: bool,
}

/// Routes are cheap to clone but not `Sync`.
struct Shelf(std::sync::Mutex<Routes>);

impl ManagerSlot {
    /// From now on calls to the manager go to `routes`.
    pub fn put(&self, routes: Routes) {
        self.routes.store(Some(Arc::new(Shelf(std::sync::Mutex::new(routes)))));
    }

    /// From now on calls to the manager are refused with `reason`.
    pub fn clear(&self, reason: &str) {
        self.absent(Absence { reason: reason.to_owned(), passing: false });
    }

    /// As [`Self::clear`], but whoever asks may ask again soon.
    pub fn clear_for_now(&self, reason: &str) {
        self.absent(Absence { reason: reason.to_owned(), passing: true });
    }

    fn absent(&self, absence: Absence) {
        self.absence.store(Some(Arc::new(absence)));
        self.routes.store(None);
    }

    fn get(&self) -> Result<Routes, Status> {
        if let Some(shelf) = &*self.routes.load() {
            // A clone cannot leave the routes half-made, so a poisoned lock is no harm.
            let routes = shelf.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            return Ok(routes.clone());
        }
        Err(match self.absence.load().as_deref() {
            Some(absence) if absence.passing => Status::unavailable(&absence.reason),
            Some(absence) => Status::failed_precondition(&absence.reason),
            None => Status::failed_precondition("this node is not a swarm manager"),
        })
    }
}

/// The services of one listener.
#[derive(Clone)]
pub struct Front {
    own: Routes,
    prefixes: Arc<[&'static str]>,
    manager: ManagerSlot,
}

impl Front {
    /// Calls whose path starts with one of `prefixes` go to `own`, all others to the manager.
    pub fn new(own: Routes, prefixes: &[&'static str], manager: ManagerSlot) -> Self {
        Self { own, prefixes: prefixes.into(), manager }
    }
}

impl Service<Request<Body>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let own = self.prefixes.iter().any(|prefix| path.starts_with(prefix));
        let target = if own { Ok(self.own.clone()) } else { self.manager.get() };
        Box::pin(async move {
            match target {
                Ok(routes) => routes.oneshot(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}
