//! Who hires clerks, kills them, and replaces them.

use std::time::Duration;

use umbel_services::{Hosted, ServiceHost, ServiceManager, StartServiceError};

use super::clerk::Clerk;
use super::{CLERK, Office, Phase};

/// The longest pause between two things that are done to a clerk.
const PAUSE_MILLIS: u64 = 900;

/// How long one who is stopped may go on with what it has.
const FINISHES_WITHIN: Duration = Duration::from_secs(3);

/// A clerk, and who sees to it.
pub(super) struct Staff {
    office: Office,
    services: ServiceManager,
    clerk: Hosted,
    hired: u64,
}

impl Staff {
    pub(super) async fn hire(office: &Office) -> Result<Self, StartServiceError> {
        let services = office.services();
        let clerk = start(office, &services, 1).await?;
        Ok(Self { office: office.clone(), services, clerk, hired: 1 })
    }

    /// Kills and replaces the clerk again and again, until the day is over.
    pub(super) async fn work(mut self) {
        while self.office.phase() != Phase::Rest {
            let pause = Duration::from_millis(1 + self.office.below(PAUSE_MILLIS));
            tokio::time::sleep(pause).await;
            match (self.office.phase(), self.office.below(6)) {
                (Phase::Rough, 0..3) => self.kill(),
                (Phase::Rough, 3) => {
                    self.clerk.stop(FINISHES_WITHIN).await;
                    self.replace().await;
                }
                (Phase::Rough | Phase::Peace, 4) => {
                    let old = self.clerk.clone();
                    if self.replace().await {
                        old.stop(FINISHES_WITHIN).await;
                    }
                }
                _ => {}
            }
        }
    }

    /// As a supervisor kills a child that does not stop.
    fn kill(&self) {
        for life in self.clerk.supervisor().cell().get_children() {
            life.kill();
        }
    }

    /// Hires another; false where that fails.
    async fn replace(&mut self) -> bool {
        self.hired += 1;
        let Ok(clerk) = start(&self.office, &self.services, self.hired).await else { return false };
        self.clerk = clerk;
        self.services.until_handed_out(self.clerk.view(), FINISHES_WITHIN).await
    }
}

async fn start(
    office: &Office,
    services: &ServiceManager,
    number: u64,
) -> Result<Hosted, StartServiceError> {
    let made_by = office.clone();
    let host = ServiceHost::new(CLERK, move || Clerk::new(&made_by, CLERK, number, false))
        .instance(number.to_string())
        .options(office.host_options(CLERK));
    let started = services.start(host).await?;
    Ok(started.expect("no configuration has it run elsewhere"))
}
