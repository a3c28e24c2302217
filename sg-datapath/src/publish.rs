//! Puts images in force: one store, and what follows from it.

use std::fs;

use sg_common::{ImageView, flow::Tick};

use crate::{
    attach::hook::Receiver,
    bpf::{
        programs::{Loader, Programs},
        syscall,
    },
    datapath::Datapath,
    error::Error,
    flows::{expire, revoke},
    maps::{
        arena::Arena,
        layout::{MAX_ARENA, NEW_ARENA},
        region::Region,
    },
};

impl Datapath {
    /// Puts an image in force, on all interfaces at the same instant. Old image stays on error.
    pub fn publish(&mut self, image: &[u32]) -> Result<(), Error> {
        self.publish_images(image, None)
    }

    /// The same until `deadline`; then `fallback` is in force, agent or no agent.
    pub fn publish_until(
        &mut self,
        image: &[u32],
        fallback: &[u32],
        deadline: Tick,
    ) -> Result<(), Error> {
        self.publish_images(image, Some((fallback, deadline)))
    }

    fn publish_images(
        &mut self,
        image: &[u32],
        fallback: Option<(&[u32], Tick)>,
    ) -> Result<(), Error> {
        let view = ImageView::new(image)?;
        self.put_in_force(image, fallback)?;
        if revoke::any_cuts(view) {
            // Programs that began under the old image may still open and refresh flows that this
            // one denies. Wait until they have ended. Programs that begin later cut such flows by
            // themselves.
            if !self.links.attached().is_empty() {
                syscall::wait_for_programs();
            }
            if let Err(error) = self.cut_denied(image, &mut |flow| revoke::cuts(view, flow.slot)) {
                tracing::warn!(%error, "flows that are denied now end on their next packet");
            }
        }
        Ok(())
    }

    pub(crate) fn put_in_force(
        &mut self,
        image: &[u32],
        fallback: Option<(&[u32], Tick)>,
    ) -> Result<(), Error> {
        expire::before_longer_timeouts(&self.maps, self.arena.root(), image, self.now())?;
        for image in fallback.iter().map(|(image, _)| *image).chain([image]) {
            self.maps.handover.note(image)?;
        }
        match self.arena.publish(&self.maps.arena, image, fallback) {
            Err(Error::TooLarge(_)) => {
                let words = image.len() + fallback.map_or(0, |(image, _)| image.len());
                self.grow(Arena::size_for(words))?;
                self.arena.publish(&self.maps.arena, image, fallback)
            }
            result => result,
        }
    }

    /// Moves to an arena of `size` bytes. Packets see the same rules throughout: the new arena
    /// starts with the image in force, then each link changes to programs that use it.
    pub(crate) fn grow(&mut self, size: usize) -> Result<(), Error> {
        let size = size.max(self.maps.arena.size * 2);
        if size > MAX_ARENA {
            return Err(Error::TooLarge(format!(
                "the compiled rules need an arena of {size} bytes; {MAX_ARENA} is the most"
            )));
        }
        let larger = Region::create(&self.maps_dir, NEW_ARENA, size)?;
        self.arena.copy_to(&self.maps.arena, &larger)?;
        // Open it before any program moves: later images must go where the moved programs look.
        let arena = Arena::open(&larger, &self.maps.handover)?;
        let smaller = std::mem::replace(&mut self.maps.arena, larger);
        if let Err(error) = self.move_programs() {
            let larger = std::mem::replace(&mut self.maps.arena, smaller);
            self.move_back();
            let _ = fs::remove_file(&larger.pin);
            return Err(error);
        }
        self.arena = arena;
        fs::rename(&self.maps.arena.pin, &smaller.pin)
            .map_err(|error| Error::kernel("renaming the arena's pin", error))?;
        self.maps.arena.pin = smaller.pin;
        tracing::info!(bytes = size, "the arena has grown");
        Ok(())
    }

    fn move_programs(&mut self) -> Result<(), Error> {
        let (loader, shift) = (Loader::get_ready(), self.clock.shift);
        let programs = Programs::load(loader, &self.maps, shift, Receiver::Tc, self.loaded)?;
        self.links.update_all(&programs)?;
        self.programs = programs;
        Ok(())
    }

    /// Links that had changed already get the present programs again: both arenas say the same.
    fn move_back(&mut self) {
        for ifindex in self.links.attached() {
            if let Err(error) = self.links.update(&self.programs, ifindex) {
                tracing::error!(ifindex, %error, "stays with the rules of now until the next agent");
            }
        }
    }
}
