//! A picture in memory that plotters draws on, with a font of pixels: no font file is needed.

use std::convert::Infallible;
use std::io::{self, Write};

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use plotters_backend::{
    BackendColor, BackendCoord, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    text_anchor::{HPos, VPos},
};

const HEIGHT: RasterHeight = RasterHeight::Size16;
const WEIGHT: FontWeight = FontWeight::Regular;

/// Width and height of a character.
fn character_size() -> (u32, u32) {
    (get_raster_width(WEIGHT, HEIGHT) as u32, HEIGHT.val() as u32)
}

/// A picture of RGB pixels, white at first.
#[derive(Debug)]
pub(super) struct Canvas<'a> {
    size: (u32, u32),
    pixels: &'a mut [u8],
}

impl<'a> Canvas<'a> {
    /// Returns the pixels of a white picture.
    pub(super) fn blank(size: (u32, u32)) -> Vec<u8> {
        vec![0xff; size.0 as usize * size.1 as usize * 3]
    }

    pub(super) fn new(size: (u32, u32), pixels: &'a mut [u8]) -> Self {
        Self { size, pixels }
    }

    fn blend(&mut self, (x, y): BackendCoord, color: BackendColor) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return;
        };
        if x >= self.size.0 || y >= self.size.1 {
            return;
        }
        let at = (y as usize * self.size.0 as usize + x as usize) * 3;
        let (red, green, blue) = color.rgb;
        let Some(pixel) = self.pixels.get_mut(at..at + 3) else {
            return;
        };
        for (old, new) in pixel.iter_mut().zip([red, green, blue]) {
            let mixed = f64::from(*old) * (1.0 - color.alpha) + f64::from(new) * color.alpha;
            *old = mixed.round() as u8;
        }
    }
}

/// Writes pixels as PNG.
pub(super) fn write_png(out: impl Write, size: (u32, u32), pixels: &[u8]) -> io::Result<()> {
    let mut encoder = png::Encoder::new(out, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    Ok(writer.finish()?)
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn draw_pixel(
        &mut self,
        point: BackendCoord,
        color: BackendColor,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        self.blend(point, color);
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let (width, height) = self.estimate_text_size(text, style)?;
        let (width, height) = (width as i32, height as i32);
        let anchor = style.anchor();
        let mut left = x - match anchor.h_pos {
            HPos::Left => 0,
            HPos::Center => width / 2,
            HPos::Right => width,
        };
        let top = y - match anchor.v_pos {
            VPos::Top => 0,
            VPos::Center => height / 2,
            VPos::Bottom => height,
        };
        let color = style.color();
        for character in text.chars() {
            let raster =
                get_raster(character, WEIGHT, HEIGHT).or_else(|| get_raster('?', WEIGHT, HEIGHT));
            for (row, line) in raster.iter().flat_map(|raster| raster.rows()).enumerate() {
                for (column, strength) in line.iter().enumerate() {
                    let ink = BackendColor {
                        alpha: color.alpha * f64::from(*strength) / 255.0,
                        ..color
                    };
                    self.blend((left + column as i32, top + row as i32), ink);
                }
            }
            left += character_size().0 as i32;
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        _style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let (width, height) = character_size();
        Ok((text.chars().count() as u32 * width, height))
    }
}
