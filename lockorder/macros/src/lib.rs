//! lockorder/macros
