//! Address selection of a stack (RFC 6724).

use std::net::{IpAddr, SocketAddr};

use super::stack::Stack;
use crate::ip::prefix::Prefix;
use crate::ip::selection::policy::PolicyTable;
use crate::ip::selection::source::AddressFlags;
use crate::stack::addresses::{self, AddressChangeError};

/// The choice of the address that the stack sends from, unless a socket is bound to one (RFC 6724).
impl Stack {
    /// Adds an address with its subnet and its properties: whether it is deprecated, and whether it is temporary.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::AddressFlags;
    ///
    /// let temporary = AddressFlags { temporary: true, ..AddressFlags::default() };
    /// stack.add_address_with("2001:db8::7953:13eb/64".parse()?, temporary)?;
    /// let address = "2001:db8::7953:13eb".parse()?;
    /// assert_eq!(stack.address_flags(address), Some(temporary));
    /// stack.set_address_flags(address, AddressFlags { deprecated: true, ..temporary })?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`Stack::add_address`].
    pub fn add_address_with(
        &self,
        address: Prefix,
        flags: AddressFlags,
    ) -> Result<(), AddressChangeError> {
        addresses::add(&self.host, address, flags)
    }

    /// Changes the properties of an address. Connections are not disturbed: a deprecated address goes on to receive and
    /// to serve those that it has.
    ///
    /// # Errors
    /// The stack does not have the address.
    pub fn set_address_flags(
        &self,
        address: IpAddr,
        flags: AddressFlags,
    ) -> Result<(), AddressChangeError> {
        addresses::set_flags(&self.host, address, flags)
    }

    /// Returns the properties of an address, or `None` if the stack does not have it.
    pub fn address_flags(&self, address: IpAddr) -> Option<AddressFlags> {
        self.host.ip.addressing.get().addresses.flags(address)
    }

    /// Sets whether temporary addresses are preferred to public ones as sources: they are, unless this turns it off
    /// (RFC 6724 section 5, rule 7).
    pub fn prefer_temporary_addresses(&self, prefer: bool) {
        addresses::set_selection(&self.host, |table| table.prefer_temporary(prefer));
    }

    /// Sets the policy table, by whose labels and precedences sources and destinations are chosen; that of RFC 6724
    /// section 2.1 if not called.
    pub fn set_policy_table(&self, policy: PolicyTable) {
        addresses::set_selection(&self.host, |table| table.set_policy(policy));
    }

    /// Sorts the addresses of a peer, as a resolver returned them, in the order in which a program should try them (RFC
    /// 6724 section 6).
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// // The stack has an IPv4 address only: what it can reach comes first.
    /// let mut found = ["[2001:db8::1]:80".parse()?, "192.0.2.1:80".parse()?];
    /// stack.sort_destinations(&mut found);
    /// assert_eq!(found[0], "192.0.2.1:80".parse()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn sort_destinations(&self, destinations: &mut [SocketAddr]) {
        addresses::sort_destinations(&self.host, destinations);
    }
}
