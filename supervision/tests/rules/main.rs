//! The rules of the engine, without any actor: against a model of OTP's supervisor that was
//! written from its documentation, and under disorder that OTP's supervisor never sees.

mod against_otp;
mod ledger;
mod model;
mod under_disorder;
