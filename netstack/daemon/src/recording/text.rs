//! The configuration of a recording, in the form of its file.

use std::path::Path;

use crate::config;
use crate::failure::Failure;
use crate::file;
use crate::settings::Settings;
use crate::sources::Sources;

/// Returns the settings as a configuration file.
///
/// # Errors
/// They would not come back from it as they are.
pub(crate) fn of_settings(settings: &Settings) -> Result<String, Failure> {
    let text = config::text_of(settings);
    let again = settings_of(&text)?;
    let shown = |settings: &Settings| {
        let parts = config::show_parts(settings);
        format!("{parts:?} {:?}", settings.stack)
    };
    if shown(&again) != shown(settings) {
        return Err(Failure::Stack(
            "the configuration cannot be recorded: it does not come back from its file as it is"
                .to_owned(),
        ));
    }
    Ok(text)
}

/// Reads settings from the configuration of a recording.
///
/// # Errors
/// The configuration is wrong.
pub(crate) fn settings_of(text: &str) -> Result<Settings, Failure> {
    let name = Path::new("the recording's configuration");
    let (file, text) = file::parse(file::Text::new(name, text.to_owned()))?;
    let sources = Sources {
        file: Some(text),
        ..Sources::default()
    };
    let (parts, stack) = file.split();
    Settings::from_parts(parts, stack, sources)
}
