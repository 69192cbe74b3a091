//! Tuples of up to eight locks, each of a type of its own, all of one level.

use super::collections::sort;
use super::{
    Anchored, Data, Distinct, Lockable, Locks, Member, MemberData, OneLock, Owned, Permit,
    SameLevel, Shape, missing,
};

macro_rules! tuple {
    ($count:literal: $first:ident $first_index:tt $(, $name:ident $index:tt)*) => {
        impl<$first, $($name),*> Shape for ($first, $($name,)*) {
            type Order = [usize; $count];
        }

        // SAFETY: the locks of the fields, in their places, all of the first one's level.
        // Where fields lie in a tuple is the compiler's choice: they are always sorted.
        unsafe impl<$first: OneLock, $($name: OneLock),*> Locks for ($first, $($name,)*)
        where
            $($name::Level: SameLevel<$first::Level>,)*
        {
            type Level = $first::Level;
            const ASCENDING: bool = false;

            #[inline]
            fn count(&self) -> usize {
                $count
            }

            #[inline]
            fn address(&self, index: usize) -> usize {
                match index {
                    $($index => self.$index.address(),)*
                    _ => self.$first_index.address(),
                }
            }

            #[inline]
            fn order(&self) -> [usize; $count] {
                let addresses = [self.$first_index.address(), $(self.$index.address()),*];
                let mut order = core::array::from_fn(|index| index);
                sort(&mut order, false, |index| addresses[index]);
                order
            }
        }

        impl<'d, M, $first: MemberData<'d, M>, $($name: MemberData<'d, M>),*> Data<'d, M, &'d Self>
            for ($first, $($name,)*)
        {
            type Data = ($first::Data, $($name::Data,)*);
        }

        // SAFETY: acquires the field of that index.
        unsafe impl<M, $first: Member<M>, $($name: Member<M, Level = $first::Level>),*> Lockable<M>
            for ($first, $($name,)*)
        {
            type Guard<'k> = ($first::Guard<'k>, $($name::Guard<'k>,)*) where Self: 'k;
            type Slots<'k> = (Option<$first::Guard<'k>>, $(Option<$name::Guard<'k>>,)*)
            where
                Self: 'k;

            #[inline]
            fn acquire_by_index<'k>(
                &'k self,
                permit: Permit<'k, $first::Level>,
            ) -> Self::Guard<'k> {
                (self.$first_index.acquire(permit), $(self.$index.acquire(permit),)*)
            }

            #[inline]
            fn slots<'k>(&'k self) -> Self::Slots<'k> {
                Default::default()
            }

            #[inline]
            fn acquire<'k>(
                &'k self,
                index: usize,
                slots: &mut Self::Slots<'k>,
                permit: Permit<'k, $first::Level>,
            ) {
                match index {
                    $($index => slots.$index = Some(self.$index.acquire(permit)),)*
                    _ => slots.$first_index = Some(self.$first_index.acquire(permit)),
                }
            }

            #[inline]
            fn try_acquire<'k>(
                &'k self,
                index: usize,
                slots: &mut Self::Slots<'k>,
                permit: Permit<'k, $first::Level>,
            ) -> bool {
                match index {
                    $($index => {
                        slots.$index = self.$index.try_acquire(permit);
                        slots.$index.is_some()
                    })*
                    _ => {
                        slots.$first_index = self.$first_index.try_acquire(permit);
                        slots.$first_index.is_some()
                    }
                }
            }

            #[inline]
            fn finish<'k>(slots: &mut Self::Slots<'k>) -> Self::Guard<'k>
            where
                Self: 'k,
            {
                (
                    slots.$first_index.take().unwrap_or_else(|| missing()),
                    $(slots.$index.take().unwrap_or_else(|| missing()),)*
                )
            }

            #[inline]
            fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> <Self as Data<'d, M>>::Data
    where
        Self: 'k,
    {
                (
                    self.$first_index.data(&mut guard.$first_index),
                    $(self.$index.data(&mut guard.$index),)*
                )
            }
        }

        // SAFETY: no field shares its lock with another.
        unsafe impl<$first: Owned, $($name: Owned),*> Distinct for ($first, $($name,)*) {}
        // SAFETY: the fields lie in the tuple.
        unsafe impl<$first: Owned, $($name: Owned),*> Owned for ($first, $($name,)*) {}
        // SAFETY: as the fields.
        unsafe impl<$first: Anchored, $($name: Anchored),*> Anchored for ($first, $($name,)*) {}
    };
}

tuple!(1: A 0);
tuple!(2: A 0, B 1);
tuple!(3: A 0, B 1, C 2);
tuple!(4: A 0, B 1, C 2, D 3);
tuple!(5: A 0, B 1, C 2, D 3, E 4);
tuple!(6: A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
