//! Arrays, slices, vectors, and references to sets.

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};
// Inlined wherever it is used. `[T; N]::map` is not: whether its loop becomes a call for each lock
// depends on how the program is divided into codegen units.
use core::array::from_fn;

use super::{
    Anchored, Data, Distinct, Lockable, Locks, Member, MemberData, OneLock, Order, Owned, Permit,
    Shape, missing,
};

impl<const N: usize> Order for [usize; N] {
    #[inline]
    fn at(&self, turn: usize) -> usize {
        self[turn]
    }
}

/// Indices sorted by address, unless they are so by construction.
#[inline]
pub(super) fn sort(order: &mut [usize], inline: bool, address: impl Fn(usize) -> usize) {
    if !inline {
        order.sort_unstable_by_key(|index| address(*index));
    }
}

impl<X, const N: usize> Shape for [X; N] {
    type Order = [usize; N];
}

// SAFETY: the locks of the elements, in their places; inline ones ascend with the index.
unsafe impl<X: OneLock, const N: usize> Locks for [X; N] {
    type Level = X::Level;
    const ASCENDING: bool = X::INLINE;

    #[inline]
    fn count(&self) -> usize {
        N
    }

    #[inline]
    fn address(&self, index: usize) -> usize {
        self[index].address()
    }

    #[inline]
    fn order(&self) -> [usize; N] {
        let mut order = from_fn(|index| index);
        sort(&mut order, X::INLINE, |index| self[index].address());
        order
    }
}

impl<'d, M, X: MemberData<'d, M>, const N: usize> Data<'d, M, &'d Self> for [X; N] {
    type Data = [X::Data; N];
}

// SAFETY: acquires the element of that index.
unsafe impl<M, X: Member<M>, const N: usize> Lockable<M> for [X; N] {
    type Guard<'k>
        = [X::Guard<'k>; N]
    where
        Self: 'k;
    type Slots<'k>
        = [Option<X::Guard<'k>>; N]
    where
        Self: 'k;

    #[inline]
    fn acquire_by_index<'k>(&'k self, permit: Permit<'k, X::Level>) -> Self::Guard<'k> {
        from_fn(|index| self[index].acquire(permit))
    }

    #[inline]
    fn slots<'k>(&'k self) -> Self::Slots<'k> {
        [const { None }; N]
    }

    #[inline]
    fn acquire<'k>(
        &'k self,
        index: usize,
        slots: &mut Self::Slots<'k>,
        permit: Permit<'k, X::Level>,
    ) {
        slots[index] = Some(self[index].acquire(permit));
    }

    #[inline]
    fn try_acquire<'k>(
        &'k self,
        index: usize,
        slots: &mut Self::Slots<'k>,
        permit: Permit<'k, X::Level>,
    ) -> bool {
        slots[index] = self[index].try_acquire(permit);
        slots[index].is_some()
    }

    #[inline]
    fn finish<'k>(slots: &mut Self::Slots<'k>) -> Self::Guard<'k>
    where
        Self: 'k,
    {
        // One by one: to move the array is to load in one piece what was stored in several, which
        // the processor waits for.
        from_fn(|index| slots[index].take().unwrap_or_else(|| missing()))
    }

    #[inline]
    fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> <Self as Data<'d, M>>::Data
    where
        Self: 'k,
    {
        let mut guards = guard.iter_mut();
        from_fn(|index| {
            let guard = guards.next().unwrap_or_else(|| missing());
            self[index].data(guard)
        })
    }
}

// SAFETY: no element is there twice, and none shares its lock with another.
unsafe impl<X: Owned, const N: usize> Distinct for [X; N] {}
// SAFETY: the elements lie in the array.
unsafe impl<X: Owned, const N: usize> Owned for [X; N] {}
// SAFETY: as the elements.
unsafe impl<X: Anchored, const N: usize> Anchored for [X; N] {}

#[cfg(feature = "alloc")]
/// The order of a slice or vector by address: its own order where the locks lie in it.
#[derive(Debug, Clone)]
pub struct SliceOrder(Sorted);

#[cfg(feature = "alloc")]
#[derive(Debug, Clone)]
enum Sorted {
    /// The locks lie in the slice: by index.
    AsTheyLie,
    ByAddress(Box<[usize]>),
}

#[cfg(feature = "alloc")]
impl Order for SliceOrder {
    #[inline]
    fn at(&self, turn: usize) -> usize {
        match &self.0 {
            Sorted::AsTheyLie => turn,
            Sorted::ByAddress(order) => order[turn],
        }
    }
}

#[cfg(feature = "alloc")]
impl<X> Shape for [X] {
    type Order = SliceOrder;
}

#[cfg(feature = "alloc")]
// SAFETY: the locks of the elements, in their places; inline ones ascend with the index.
unsafe impl<X: OneLock> Locks for [X] {
    type Level = X::Level;
    const ASCENDING: bool = X::INLINE;

    #[inline]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn address(&self, index: usize) -> usize {
        self[index].address()
    }

    fn order(&self) -> SliceOrder {
        if X::INLINE {
            return SliceOrder(Sorted::AsTheyLie);
        }
        let mut order: Box<[usize]> = (0..self.len()).collect();
        sort(&mut order, false, |index| self[index].address());
        SliceOrder(Sorted::ByAddress(order))
    }
}

#[cfg(feature = "alloc")]
impl<'d, M, X: MemberData<'d, M>> Data<'d, M, &'d Self> for [X] {
    type Data = Vec<X::Data>;
}

#[cfg(feature = "alloc")]
// SAFETY: acquires the element of that index.
unsafe impl<M, X: Member<M>> Lockable<M> for [X] {
    type Guard<'k>
        = Vec<X::Guard<'k>>
    where
        Self: 'k;
    type Slots<'k>
        = Vec<Option<X::Guard<'k>>>
    where
        Self: 'k;

    fn acquire_by_index<'k>(&'k self, permit: Permit<'k, X::Level>) -> Self::Guard<'k> {
        self.iter().map(|member| member.acquire(permit)).collect()
    }

    fn slots<'k>(&'k self) -> Self::Slots<'k> {
        core::iter::repeat_with(|| None).take(self.len()).collect()
    }

    #[inline]
    fn acquire<'k>(
        &'k self,
        index: usize,
        slots: &mut Self::Slots<'k>,
        permit: Permit<'k, X::Level>,
    ) {
        slots[index] = Some(self[index].acquire(permit));
    }

    #[inline]
    fn try_acquire<'k>(
        &'k self,
        index: usize,
        slots: &mut Self::Slots<'k>,
        permit: Permit<'k, X::Level>,
    ) -> bool {
        slots[index] = self[index].try_acquire(permit);
        slots[index].is_some()
    }

    fn finish<'k>(slots: &mut Self::Slots<'k>) -> Self::Guard<'k>
    where
        Self: 'k,
    {
        slots
            .drain(..)
            .map(|slot| slot.unwrap_or_else(|| missing()))
            .collect()
    }

    fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> <Self as Data<'d, M>>::Data
    where
        Self: 'k,
    {
        self.iter()
            .zip(guard.iter_mut())
            .map(|(member, guard)| member.data(guard))
            .collect()
    }
}

// SAFETY: no element is there twice, and none shares its lock with another.
unsafe impl<X: Owned> Distinct for [X] {}
// SAFETY: the elements lie in the slice, and a slice is had through its owner.
unsafe impl<X: Owned> Owned for [X] {}

/// A set through a pointer: all is as in the set pointed at.
macro_rules! through {
    ($($(#[$attribute:meta])* [$($generics:tt)*] [$set:ty] $pointer:ty;)*) => {$(
        $(#[$attribute])*
        impl<$($generics)*> Shape for $pointer
        where
            $set: Shape,
        {
            type Order = <$set as Shape>::Order;
        }

        $(#[$attribute])*
        // SAFETY: the locks of the set pointed at.
        unsafe impl<$($generics)*> Locks for $pointer
        where
            $set: Locks,
        {
            type Level = <$set as Locks>::Level;
            const ASCENDING: bool = <$set as Locks>::ASCENDING;

            #[inline]
            fn count(&self) -> usize {
                <$set as Locks>::count(self)
            }

            #[inline]
            fn address(&self, index: usize) -> usize {
                <$set as Locks>::address(self, index)
            }

            #[inline]
            fn order(&self) -> Self::Order {
                <$set as Locks>::order(self)
            }
        }

        $(#[$attribute])*
        impl<'d, $($generics)*, M> Data<'d, M, &'d Self> for $pointer
        where
            $set: Data<'d, M>,
        {
            type Data = <$set as Data<'d, M>>::Data;
        }

        $(#[$attribute])*
        // SAFETY: acquires in the set pointed at.
        unsafe impl<$($generics)*, M> Lockable<M> for $pointer
        where
            $set: Lockable<M>,
        {
            type Guard<'k> = <$set as Lockable<M>>::Guard<'k> where Self: 'k;
            type Slots<'k> = <$set as Lockable<M>>::Slots<'k> where Self: 'k;

            #[inline]
            fn acquire_by_index<'k>(&'k self, permit: Permit<'k, Self::Level>) -> Self::Guard<'k> {
                <$set as Lockable<M>>::acquire_by_index(self, permit)
            }

            #[inline]
            fn slots<'k>(&'k self) -> Self::Slots<'k> {
                <$set as Lockable<M>>::slots(self)
            }

            #[inline]
            fn acquire<'k>(
                &'k self,
                index: usize,
                slots: &mut Self::Slots<'k>,
                permit: Permit<'k, Self::Level>,
            ) {
                <$set as Lockable<M>>::acquire(self, index, slots, permit);
            }

            #[inline]
            fn try_acquire<'k>(
                &'k self,
                index: usize,
                slots: &mut Self::Slots<'k>,
                permit: Permit<'k, Self::Level>,
            ) -> bool {
                <$set as Lockable<M>>::try_acquire(self, index, slots, permit)
            }

            #[inline]
            fn finish<'k>(slots: &mut Self::Slots<'k>) -> Self::Guard<'k>
            where
                Self: 'k,
            {
                <$set as Lockable<M>>::finish(slots)
            }

            #[inline]
            fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> <Self as Data<'d, M>>::Data
    where
        Self: 'k,
    {
                <$set as Lockable<M>>::data(self, guard)
            }
        }
    )*};
}

through! {
    ['a, S: ?Sized] [S] &'a S;
    #[cfg(feature = "alloc")]
    [X: OneLock] [[X]] Vec<X>;
    #[cfg(feature = "alloc")]
    [X: OneLock] [[X]] Box<[X]>;
}

#[cfg(feature = "alloc")]
// SAFETY: as for a slice.
unsafe impl<X: Owned> Distinct for Vec<X> {}
#[cfg(feature = "alloc")]
// SAFETY: the elements are the vector's own.
unsafe impl<X: Owned> Owned for Vec<X> {}
#[cfg(feature = "alloc")]
// SAFETY: the elements stay where they are on the heap, inline or not.
unsafe impl<X> Anchored for Vec<X> {}
