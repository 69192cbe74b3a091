//! The plain case: a level that does not come after what is held.
use lockorder::{Key, Mutex};

mod levels {
    lockorder::lock_order! { pub domain Stack; level Ip, Device; Stack => Ip => Device; }
}

fn main() {
    let ip = Mutex::<levels::Ip, _>::new(0);
    let device = Mutex::<levels::Device, _>::new(0);
    let mut key = Key::<levels::Stack>::take().unwrap();
    device.with(&mut key.ctx(), |_, ctx| {
        ip.with(ctx, |_, _| ());
    });
}
