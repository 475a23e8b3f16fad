//! A TCP load balancer like those of platforms. It probes the readiness of each backend and
//! forwards new connections to ready backends. It does not retry and does not change the
//! transferred data.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// Pause between two readiness probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// A running load balancer. It listens until it is dropped.
pub struct Balancer {
    pub address: SocketAddr,
    backends: Rc<RefCell<Vec<Backend>>>,
    tasks: Vec<actix_web::rt::task::JoinHandle<()>>,
}

struct Backend {
    address: SocketAddr,
    ready: bool,
    connections: usize,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(actix_web::rt::task::JoinHandle::abort);
    }
}

impl Balancer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let backends = Rc::<RefCell<Vec<Backend>>>::default();
        let tasks = vec![
            actix_web::rt::spawn(probe_backends(Rc::clone(&backends))),
            actix_web::rt::spawn(forward_connections(listener, Rc::clone(&backends))),
        ];
        Self { address, backends, tasks }
    }

    pub fn add(&self, address: SocketAddr) {
        self.backends.borrow_mut().push(Backend { address, ready: false, connections: 0 });
    }

    pub fn remove(&self, address: SocketAddr) {
        self.backends.borrow_mut().retain(|backend| backend.address != address);
    }

    pub fn is_ready(&self, address: SocketAddr) -> bool {
        self.backends.borrow().iter().any(|backend| backend.address == address && backend.ready)
    }

    /// The number of connections that were forwarded to this backend.
    pub fn connections(&self, address: SocketAddr) -> usize {
        let backends = self.backends.borrow();
        let found = backends.iter().find(|backend| backend.address == address);
        found.map_or(0, |backend| backend.connections)
    }
}

async fn probe_backends(backends: Rc<RefCell<Vec<Backend>>>) {
    loop {
        let addresses: Vec<_> = backends.borrow().iter().map(|one| one.address).collect();
        for address in addresses {
            let ready = is_ready(address).await;
            if let Some(backend) = backends.borrow_mut().iter_mut().find(|b| b.address == address) {
                backend.ready = ready;
            }
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let request = b"GET /-/ready HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\n\r\n";
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map(|_| answer)
    };
    let answer: std::io::Result<_> = answer.await;
    answer.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
}

async fn forward_connections(listener: TcpListener, backends: Rc<RefCell<Vec<Backend>>>) {
    for turn in 0.. {
        let (mut client, _) = listener.accept().await.unwrap();
        let chosen = {
            let mut backends = backends.borrow_mut();
            let mut ready: Vec<_> = backends.iter_mut().filter(|backend| backend.ready).collect();
            let count = ready.len().max(1);
            ready.get_mut(turn % count).map(|backend| {
                backend.connections += 1;
                backend.address
            })
        };
        let Some(address) = chosen else { continue };
        actix_web::rt::spawn(async move {
            if let Ok(mut backend) = TcpStream::connect(address).await {
                let _ = copy_bidirectional(&mut client, &mut backend).await;
            }
        });
    }
}
