//! The policy table: a precedence and a label for each prefix (RFC 6724 section 2.1).

use core::net::{IpAddr, Ipv6Addr};

use crate::ip::prefix::Prefix;

/// Most rows of a table.
pub const MAX_ROWS: usize = 64;

/// A row of a policy table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyRow {
    /// The addresses that the row is about. Those of IPv4 are `::ffff:0:0/96`.
    pub prefix: Prefix,
    /// A destination with a higher precedence is tried first.
    pub precedence: u8,
    /// A source with the label of the destination is preferred.
    pub label: u8,
}

/// The reason why a table is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyError {
    /// A prefix is one of IPv4.
    #[error("{0} is a prefix of IPv4: write it as one of ::ffff:0:0/96")]
    Ipv4(Prefix),
    /// Two rows have the same prefix.
    #[error("{0} has two rows: remove one")]
    Duplicate(Prefix),
    /// The table has too many rows.
    #[error("more than {MAX_ROWS} rows: remove some")]
    TooMany,
}

/// A table of policies. The row with the longest prefix that contains an address holds for it.
///
/// ```
/// use netstack::ip::selection::policy::{PolicyRow, PolicyTable};
///
/// // Prefers IPv4 to IPv6, as in RFC 6724 section 10.3.
/// let mut rows = PolicyTable::default().rows().to_vec();
/// let ipv4 = "::ffff:0:0/96".parse()?;
/// for row in rows.iter_mut().filter(|row| row.prefix == ipv4) {
///     row.precedence = 100;
/// }
/// let table = PolicyTable::new(rows)?;
/// assert!(table.precedence("192.0.2.1".parse()?) > table.precedence("2001:db8::1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyTable {
    /// Longest prefix first.
    rows: Vec<PolicyRow>,
}

impl PolicyTable {
    /// Creates a table of these rows, in any order.
    ///
    /// # Errors
    /// A [`PolicyError`].
    pub fn new(mut rows: Vec<PolicyRow>) -> Result<Self, PolicyError> {
        if rows.len() > MAX_ROWS {
            return Err(PolicyError::TooMany);
        }
        for row in &mut rows {
            if row.prefix.address().is_ipv4() {
                return Err(PolicyError::Ipv4(row.prefix));
            }
            row.prefix = row.prefix.network();
        }
        rows.sort_by_key(|row| (core::cmp::Reverse(row.prefix.len()), row.prefix.address()));
        if let Some(twice) = rows.windows(2).find(|two| two[0].prefix == two[1].prefix) {
            return Err(PolicyError::Duplicate(twice[0].prefix));
        }
        Ok(Self { rows })
    }

    /// Returns the rows, that of the longest prefix first.
    pub fn rows(&self) -> &[PolicyRow] {
        &self.rows
    }

    fn row(&self, address: IpAddr) -> Option<&PolicyRow> {
        let address = match address {
            IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
            IpAddr::V6(_) => address,
        };
        self.rows.iter().find(|row| row.prefix.contains(address))
    }

    /// Returns the label of an address; `None` if no row is about it.
    pub fn label(&self, address: IpAddr) -> Option<u8> {
        self.row(address).map(|row| row.label)
    }

    /// Returns the precedence of an address; 0 if no row is about it.
    pub fn precedence(&self, address: IpAddr) -> u8 {
        self.row(address).map_or(0, |row| row.precedence)
    }
}

impl Default for PolicyTable {
    /// Creates the default table of RFC 6724 section 2.1.
    fn default() -> Self {
        const ROWS: [([u16; 8], u8, u8, u8); 9] = [
            ([0, 0, 0, 0, 0, 0, 0, 1], 128, 50, 0),
            ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, 35, 4),
            ([0; 8], 96, 1, 3),
            ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, 5, 5),
            ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, 30, 2),
            ([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, 1, 12),
            ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, 1, 11),
            ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, 3, 13),
            ([0; 8], 0, 40, 1),
        ];
        let row = |(segments, len, precedence, label): ([u16; 8], u8, u8, u8)| {
            let prefix = Prefix::new(Ipv6Addr::from(segments).into(), len).ok()?;
            Some(PolicyRow {
                prefix,
                precedence,
                label,
            })
        };
        Self {
            rows: ROWS.into_iter().filter_map(row).collect(),
        }
    }
}
