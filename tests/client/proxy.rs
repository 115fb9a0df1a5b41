//! A proxy of TCP between client and server, which cuts, stalls and counts what the server sends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// What a proxy does to a connection whose server has sent so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    None,
    /// It ends.
    CutAfter(u64),
    /// It stays, and nothing more comes.
    StallAfter(u64),
}

#[derive(Clone)]
pub struct Proxy(Arc<ProxyState>);

struct ProxyState {
    address: SocketAddr,
    upstream: Mutex<Option<SocketAddr>>,
    mischief: Mutex<Mischief>,
    /// Bytes that came from the server.
    passed: AtomicU64,
    connections: AtomicU64,
}

impl Proxy {
    pub fn new(mischief: Mischief) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(ProxyState {
            address: listener.local_addr().unwrap(),
            upstream: Mutex::new(None),
            mischief: Mutex::new(mischief),
            passed: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let proxy = Self(state);
        let shared = proxy.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, shared) = (client.unwrap(), shared.clone());
                std::thread::spawn(move || shared.serve(client));
            }
        });
        proxy
    }

    /// The setting of a server whose URLs lead through it.
    pub fn setting(&self) -> String {
        format!("server.public_url=http://{}", self.0.address)
    }

    /// The base URL that leads through it to this server's.
    pub fn lead_to(&self, base: &str) -> String {
        let url = url_parts(base);
        *self.0.upstream.lock() = Some(url.0.parse().unwrap());
        format!("http://{}{}", self.0.address, url.1)
    }

    /// From now on whoever connects is sent away.
    pub fn lead_nowhere(&self) {
        *self.0.upstream.lock() = None;
    }

    pub fn set(&self, mischief: Mischief) {
        *self.0.mischief.lock() = mischief;
    }

    pub fn passed(&self) -> u64 {
        self.0.passed.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::SeqCst)
    }

    fn serve(&self, client: TcpStream) {
        self.0.connections.fetch_add(1, Ordering::SeqCst);
        let upstream = *self.0.upstream.lock();
        let Some(Ok(server)) = upstream.map(TcpStream::connect) else { return };
        let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut up_from, &mut up_to);
            let _ = up_to.shutdown(Shutdown::Write);
        });
        let (mut server, mut client) = (server, client);
        let mut piece = [0; 16 << 10];
        let mut sent = 0;
        loop {
            let mischief = *self.0.mischief.lock();
            match mischief {
                Mischief::CutAfter(bytes) if sent >= bytes => break,
                Mischief::StallAfter(bytes) if sent >= bytes => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                _ => {}
            }
            let read = server.read(&mut piece).unwrap_or(0);
            if read == 0 || client.write_all(&piece[..read]).is_err() {
                break;
            }
            sent += read as u64;
            self.0.passed.fetch_add(read as u64, Ordering::SeqCst);
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}

/// Host and port of a URL, and its path.
pub fn url_parts(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}
