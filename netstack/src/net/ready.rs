//! Readiness of a socket: the kinds that a program waits for, and those that it finds.

bitflags::bitflags! {
    /// The kinds of readiness that a program waits for, as `tokio::io::Interest`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct Interest: u8 {
        /// Something to read, the end of the stream, or an error.
        const READABLE = 1;
        /// Room to write, or an error.
        const WRITABLE = 1 << 1;
    }
}

bitflags::bitflags! {
    /// The readiness of a socket, as `tokio::io::Ready`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
    pub struct Ready: u8 {
        /// A read does not wait.
        const READABLE = 1;
        /// A write does not wait.
        const WRITABLE = 1 << 1;
        /// The peer sends nothing more.
        const READ_CLOSED = 1 << 2;
        /// The program can write no more.
        const WRITE_CLOSED = 1 << 3;
        /// The connection ended in an error, which the next call reports.
        const ERROR = 1 << 4;
    }
}

impl Ready {
    /// Returns true if a read does not wait: for data, for the end of the stream, or for an error.
    pub fn is_readable(self) -> bool {
        self.intersects(Self::READABLE | Self::READ_CLOSED)
    }

    /// Returns true if a write does not wait.
    pub fn is_writable(self) -> bool {
        self.intersects(Self::WRITABLE | Self::WRITE_CLOSED)
    }

    /// Returns true if the peer sends nothing more. Data may still be there to read.
    pub fn is_read_closed(self) -> bool {
        self.contains(Self::READ_CLOSED)
    }

    /// Returns true if the program can write no more.
    pub fn is_write_closed(self) -> bool {
        self.contains(Self::WRITE_CLOSED)
    }

    /// Returns true if the connection ended in an error, which the next call reports.
    pub fn is_error(self) -> bool {
        self.contains(Self::ERROR)
    }
}
