//! lockorder
