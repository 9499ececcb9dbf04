//! Files that are read again while the server runs, and used when their contents have changed.

use tokio::task::spawn_blocking;

/// The result of the last read, whether the contents were valid or not. So each change, and each error, is reported once.
pub(crate) struct Polled<T, E>(pub(crate) Result<T, E>);

impl<T, E> Polled<T, E>
where
    T: PartialEq + Send + 'static,
    E: PartialEq + Clone + Send + 'static,
{
    /// Reads the files. Returns the result if it differs from that of the last read, or if `force` is set.
    pub(crate) async fn poll(
        &mut self,
        force: bool,
        read: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Option<Result<&T, E>> {
        // The disk can be slow.
        let read = spawn_blocking(read).await.expect("reading files does not panic");
        if read == self.0 && !force {
            return None;
        }
        self.0 = read;
        Some(self.0.as_ref().map_err(Clone::clone))
    }
}
