//! An interface of an image that has to be whole.

use std::{net::IpAddr, ops::Deref};

use sg_common::{Direction, Family, image::service, view::InterfaceView};

use crate::compile::Image;

/// An [`InterfaceView`] with plain answers; panics where the image is damaged.
#[derive(Clone, Copy, Debug)]
pub struct CheckedInterface<'a>(InterfaceView<'a>);

impl<'a> CheckedInterface<'a> {
    /// Panics if the interface is not filtered.
    pub fn of(image: &'a Image, ifindex: u32) -> Self {
        Self(image.view().interface(ifindex).expect("the interface is filtered"))
    }

    pub fn allows(self, direction: Direction, peer: IpAddr, protocol: u8, detail: u16) -> bool {
        whole(self.0.allows(direction, peer, service(protocol, detail)))
    }

    pub fn allows_all(self, direction: Direction, peer: IpAddr, protocol: u8) -> bool {
        whole(self.0.allows_all(direction, peer, protocol))
    }

    pub fn is_untracked(self, side: Direction, family: Family, protocol: u8, port: u16) -> bool {
        whole(self.0.is_untracked(side, family, service(protocol, port)))
    }

    pub fn owns(self, address: IpAddr) -> bool {
        whole(self.0.owns(address))
    }
}

impl<'a> Deref for CheckedInterface<'a> {
    type Target = InterfaceView<'a>;

    fn deref(&self) -> &InterfaceView<'a> {
        &self.0
    }
}

fn whole<T>(answer: Option<T>) -> T {
    answer.expect("the look-up stays within the image")
}
