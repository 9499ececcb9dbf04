//! Offers and answers.

use std::fmt::Display;

use str0m::change::{SdpAnswer, SdpOffer};

use super::Engine;
use super::channels::negotiated;
use crate::driver::sdp;
use crate::mesh::{Description, Kind};

/// The engine cannot parse or apply a description. The log has the cause.
#[derive(Debug)]
pub(crate) struct Unusable;

impl Engine {
    /// Makes the first offer.
    pub(crate) fn offer(&mut self) -> Option<Description> {
        let offer = self.call(|rtc| {
            let mut api = rtc.sdp_api();
            let control = api.add_channel_with_config(negotiated("control", 0));
            let data = api.add_channel_with_config(negotiated("data", 1));
            let (offer, pending) = api.apply()?;
            Some((control, data, offer.to_sdp_string(), pending))
        });
        let (control, data, sdp, pending) = offer.flatten()?;
        self.control = Some(control);
        self.data = Some(data);
        self.pending_offer = Some(pending);
        Some(self.describe(Kind::Offer, &sdp))
    }

    /// Makes an offer that restarts ICE.
    pub(crate) fn restart_ice(&mut self) -> Option<Description> {
        let offer = self.call(|rtc| {
            let mut api = rtc.sdp_api();
            api.ice_restart(true);
            api.apply().map(|(offer, pending)| (offer.to_sdp_string(), pending))
        });
        let (sdp, pending) = offer.flatten()?;
        self.pending_offer = Some(pending);
        self.drain();
        Some(self.describe(Kind::Offer, &sdp))
    }

    /// Returns an own description, with a higher version than all before.
    fn describe(&mut self, kind: Kind, sdp: &str) -> Description {
        self.version += 1;
        Description { kind, sdp: sdp::from_engine(sdp, self.version) }
    }

    /// Whether an own offer can still be answered.
    pub(crate) fn has_offer(&self) -> bool {
        self.pending_offer.is_some()
    }

    /// Applies a description of the other peer. Returns the answer to an offer.
    ///
    /// A description that cannot be parsed changes nothing. One that cannot be applied may have changed the remote
    /// credentials and candidates of ICE, and ends an own offer. A connection that is kept then needs an ICE restart.
    pub(crate) fn accept(&mut self, description: &Description) -> Result<Option<Description>, Unusable> {
        let sdp = sdp::for_engine(&description.sdp);
        let answer = match description.kind {
            Kind::Offer => self.accept_offer(&sdp),
            Kind::Answer => self.accept_answer(&sdp).map(|()| None),
        };
        self.drain();
        answer
    }

    fn accept_offer(&mut self, sdp: &str) -> Result<Option<Description>, Unusable> {
        let offer = SdpOffer::from_sdp_string(sdp).map_err(unusable)?;
        self.pending_offer = None;
        let is_first = self.control.is_none();
        let answer = self.call(|rtc| {
            let answer = rtc.sdp_api().accept_offer(offer)?;
            let channels = is_first.then(|| {
                let mut api = rtc.direct_api();
                let control = api.create_data_channel(negotiated("control", 0));
                (control, api.create_data_channel(negotiated("data", 1)))
            });
            Ok::<_, str0m::RtcError>((answer.to_sdp_string(), channels))
        });
        // If there is none, the engine has failed and reports it.
        let Some(answer) = answer else { return Ok(None) };
        let (sdp, channels) = answer.map_err(unusable)?;
        if let Some((control, data)) = channels {
            self.control = Some(control);
            self.data = Some(data);
        }
        Ok(Some(self.describe(Kind::Answer, &sdp)))
    }

    fn accept_answer(&mut self, sdp: &str) -> Result<(), Unusable> {
        if self.pending_offer.is_none() {
            return Ok(()); // a late second answer
        }
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(unusable)?;
        let Some(pending) = self.pending_offer.take() else { return Ok(()) };
        self.call(|rtc| rtc.sdp_api().accept_answer(pending, answer)).unwrap_or(Ok(())).map_err(unusable)
    }
}

fn unusable(error: impl Display) -> Unusable {
    tracing::debug!(%error, "a description cannot be used");
    Unusable
}
