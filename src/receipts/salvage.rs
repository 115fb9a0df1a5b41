//! What can be kept of receipts that do not hold together any more: the entries before the
//! first line that does not follow.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{FILE_NAME, ReceiptFile, ReceiptsError, fail, walk};

impl ReceiptFile {
    /// Makes the receipts of a data directory, which has none, from the whole part of the file
    /// at `broken`, and opens them.
    ///
    /// # Errors
    /// A file could not be read or written; a part of the new one may be there then.
    pub fn salvage(broken: &Path, data_dir: &Path) -> Result<Self, ReceiptsError> {
        let mut whole = 0;
        let walked = walk(broken, |item| {
            whole = item.bytes.end;
            Ok::<_, ReceiptsError>(())
        });
        match walked {
            Ok(_) | Err(ReceiptsError::Broken { .. }) => {}
            Err(error) => return Err(error),
        }
        let copy = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o600);
            let mut to = options.open(data_dir.join(FILE_NAME))?;
            io::copy(&mut File::open(broken)?.take(whole), &mut to)?;
            to.sync_all()
        };
        copy().map_err(fail("salvage"))?;
        Self::open(data_dir)
    }
}
