//! Evidence that a scraper has received a response.
//!
//! A scraper confirms nothing: it sends no cookies and no conditional requests, and does not repeat a
//! scrape. But Prometheus uses a connection again only if it has read the previous response
//! completely, and closes the connection when the scrape times out. So the connection shows whether
//! the scraper has received the response, at the scraper's deadline at the latest:
//!
//! | the connection | verdict |
//! | --- | --- |
//! | carried another request | acknowledged |
//! | was closed by this process first, and then by the client in order | acknowledged |
//! | was closed otherwise | refused |
//! | before the deadline | open |
//! | after it: is established, and the client's kernel has acknowledged the whole response | acknowledged |
//! | after it: anything else | refused |
//!
//! Behind a proxy this is evidence of what the proxy has read. A client that is suspended at its
//! deadline looks like one that has read a small response. HTTP/2 gives no evidence at all, because
//! the requests of a connection do not depend on each other.

use super::sockets::{SocketTable, TcpState};
use crate::telemetry::running::Use;
use std::time::Duration;
use tokio::time::Instant;

/// Time after a deadline for the client's FIN to arrive. In measurements 150 ms were sufficient.
pub const MARGIN: Duration = Duration::from_millis(200);

/// The connection that a scrape arrived on.
#[derive(Clone, Debug)]
pub struct ScrapeConnection {
    in_use: Use,
    /// The number of the scrape among the requests of the connection.
    request: u64,
    deadline: Instant,
}

/// What is known about the delivery of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Acknowledged(AckBy),
    Refused(NackBy),
    /// Not decided yet.
    Open,
}

/// Why a response counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckBy {
    Reuse,
    Deadline,
    Close,
}

/// Why a response counts as not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NackBy {
    Closed,
    Deadline,
    /// The process that sent it is gone.
    Lost,
}

impl ScrapeConnection {
    /// The connection of the request that is being handled. Its client gives up at `deadline`.
    pub fn new(in_use: Use, deadline: Instant) -> Self {
        let request = in_use.begun();
        Self { in_use, request, deadline }
    }

    pub(super) fn in_use(&self) -> &Use {
        &self.in_use
    }

    pub(super) fn is_closed(&self) -> bool {
        self.in_use.is_closed()
    }

    /// Time from which [`Self::judge`] decides if it has the sockets.
    pub fn decision_time(&self) -> Instant {
        self.deadline + MARGIN
    }

    /// Whether [`Self::judge`] depends on the sockets.
    pub(super) fn needs_sockets(&self, now: Instant) -> bool {
        !self.is_reused() && (self.in_use.is_closed() || now >= self.decision_time())
    }

    /// Judges with the state of the connection and with `sockets`, which were read at `now` or
    /// later. Without sockets, a connection that is still open is not judged by its deadline, and a
    /// closed one counts as closed by the client.
    pub fn judge(&self, now: Instant, sockets: Option<&SocketTable>) -> Verdict {
        if self.is_reused() {
            return Verdict::Acknowledged(AckBy::Reuse);
        }
        let is_due = now >= self.decision_time();
        let socket = sockets.zip(self.in_use.ends()).and_then(|(table, ends)| table.find(ends));
        let state = socket.map(|socket| &socket.state);
        if self.in_use.is_closed() {
            return match state {
                // Only the side that closes first gets into these states.
                Some(TcpState::TimeWait) => Verdict::Acknowledged(AckBy::Close),
                Some(TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing) if is_due => {
                    Verdict::Refused(NackBy::Deadline)
                }
                Some(TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing) => Verdict::Open,
                _ => Verdict::Refused(NackBy::Closed),
            };
        }
        if !is_due || sockets.is_none() {
            return Verdict::Open;
        }
        let is_received = self.is_sent()
            && socket.is_some_and(|socket| {
                socket.state == TcpState::Established && socket.unacknowledged == 0
            });
        if is_received {
            Verdict::Acknowledged(AckBy::Deadline)
        } else {
            Verdict::Refused(NackBy::Deadline)
        }
    }

    /// Whether another request has arrived. Go returns a connection to its pool only after the body
    /// of the response was read to its end.
    fn is_reused(&self) -> bool {
        self.in_use.begun() > self.request
    }

    /// Whether the kernel has accepted the whole response.
    fn is_sent(&self) -> bool {
        self.in_use.has_ended_since(self.request - 1) && !self.in_use.is_blocked()
    }
}

impl AckBy {
    pub const ALL: [Self; 3] = [Self::Reuse, Self::Deadline, Self::Close];

    /// The value of a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reuse => "reuse",
            Self::Deadline => "deadline",
            Self::Close => "close",
        }
    }
}

impl NackBy {
    pub const ALL: [Self; 3] = [Self::Closed, Self::Deadline, Self::Lost];

    /// The value of a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Deadline => "deadline",
            Self::Lost => "lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sockets::Socket, *};
    use crate::telemetry::running::{ConnectionEnds, InUse};

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A scrape whose response is sent while `running` exists.
    struct Scrape {
        start: Instant,
        in_use: Use,
        running: Option<InUse>,
        connection: ScrapeConnection,
    }

    fn ends() -> ConnectionEnds {
        let address = |port| ([127, 0, 0, 1], port).into();
        ConnectionEnds { local: address(8090), peer: address(40_000) }
    }

    fn sockets(state: TcpState, unacknowledged: u32) -> SocketTable {
        [(ends(), Socket { state, unacknowledged })].into_iter().collect()
    }

    impl Scrape {
        /// A scrape that is the second request of its connection.
        fn begin() -> Self {
            let (in_use, start) = (Use::default(), Instant::now());
            in_use.set_ends(ends());
            drop(in_use.begin());
            let running = Some(in_use.begin());
            let connection = ScrapeConnection::new(in_use.clone(), start + TIMEOUT);
            Self { start, in_use, running, connection }
        }

        /// A scrape whose response was handed to the kernel.
        fn sent() -> Self {
            Self { running: None, ..Self::begin() }
        }

        fn closed() -> Self {
            let scrape = Self::sent();
            scrape.in_use.close();
            scrape
        }

        /// Judges at the last moment before the decision time.
        fn before(&self, sockets: Option<&SocketTable>) -> Verdict {
            self.connection.judge(self.start + TIMEOUT + MARGIN - Duration::from_millis(1), sockets)
        }

        fn after(&self, sockets: Option<&SocketTable>) -> Verdict {
            self.connection.judge(self.start + TIMEOUT + MARGIN, sockets)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_request_acknowledges_also_after_the_end_of_the_connection() {
        let scrape = Scrape::sent();
        let next = scrape.in_use.begin();
        assert_eq!(scrape.before(None), Verdict::Acknowledged(AckBy::Reuse));
        drop(next);
        scrape.in_use.close();
        let gone = SocketTable::default();
        for verdict in [scrape.before(None), scrape.before(Some(&gone)), scrape.after(Some(&gone))]
        {
            assert_eq!(verdict, Verdict::Acknowledged(AckBy::Reuse));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_that_closes_first_refuses() {
        let scrape = Scrape::closed();
        assert_eq!(scrape.before(None), Verdict::Refused(NackBy::Closed));
        assert_eq!(scrape.before(Some(&SocketTable::default())), Verdict::Refused(NackBy::Closed));
        for state in [TcpState::CloseWait, TcpState::LastAck, TcpState::Established] {
            let table = sockets(state, 0);
            assert_eq!(scrape.before(Some(&table)), Verdict::Refused(NackBy::Closed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_our_close_the_client_acknowledges_by_its_own() {
        let scrape = Scrape::closed();
        let table = sockets(TcpState::TimeWait, 0);
        assert_eq!(scrape.before(Some(&table)), Verdict::Acknowledged(AckBy::Close));
        assert_eq!(scrape.after(Some(&table)), Verdict::Acknowledged(AckBy::Close));
        for state in [TcpState::FinWait1, TcpState::FinWait2, TcpState::Closing] {
            let table = sockets(state, 0);
            assert_eq!(scrape.before(Some(&table)), Verdict::Open);
            assert_eq!(scrape.after(Some(&table)), Verdict::Refused(NackBy::Deadline));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_was_received_is_acknowledged_at_the_deadline() {
        let scrape = Scrape::sent();
        let table = sockets(TcpState::Established, 0);
        assert_eq!(scrape.before(Some(&table)), Verdict::Open);
        assert_eq!(scrape.after(Some(&table)), Verdict::Acknowledged(AckBy::Deadline));
        assert_eq!(scrape.after(None), Verdict::Open, "unknown without the sockets");
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_was_not_received_is_refused_at_the_deadline() {
        let refused = Verdict::Refused(NackBy::Deadline);
        let scrape = Scrape::sent();
        let others = [
            sockets(TcpState::Established, 1),
            sockets(TcpState::CloseWait, 0),
            SocketTable::default(),
        ];
        for table in others {
            assert_eq!(scrape.before(Some(&table)), Verdict::Open);
            assert_eq!(scrape.after(Some(&table)), refused);
        }
        let table = sockets(TcpState::Established, 0);
        scrape.in_use.set_blocked(true);
        assert_eq!(scrape.after(Some(&table)), refused);
        let mut scrape = Scrape::begin();
        assert_eq!(scrape.after(Some(&table)), refused);
        scrape.running = None;
        assert_eq!(scrape.after(Some(&table)), Verdict::Acknowledged(AckBy::Deadline));
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_are_read_only_when_they_decide() {
        let scrape = Scrape::sent();
        let needs = |scrape: &Scrape, after: Duration| {
            scrape.connection.needs_sockets(scrape.start + after)
        };
        assert!(!needs(&scrape, TIMEOUT) && needs(&scrape, TIMEOUT + MARGIN));
        assert!(needs(&Scrape::closed(), Duration::ZERO));
        drop(scrape.in_use.begin());
        assert!(!needs(&scrape, TIMEOUT + MARGIN));
    }
}
