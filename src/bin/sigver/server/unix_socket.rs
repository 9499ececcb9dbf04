//! A Unix socket that listens, and its file.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// A listening Unix socket. Dropping it removes its file.
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The device and the number of the inode.
    inode: (u64, u64),
}

impl UnixSocket {
    /// Listens on this path. Replaces a socket file on which nothing listens, and no other file.
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path).await?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let file = fs::symlink_metadata(path)?;
        Ok(Self { listener, path: path.to_owned(), inode: (file.dev(), file.ino()) })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // The file may have been deleted, and another server may have created its own.
        let is_own = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.inode);
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

/// Removes the socket file of a server that has ended without removing it.
async fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("the file is not a socket"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")),
        // For example because the queue of the listener is full, or because it is a datagram socket.
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stale_socket_is_replaced_and_live_socket_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("socket");
        // std does not remove the file.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        let socket = UnixSocket::bind(&path).await.expect("the file is stale");
        let error = UnixSocket::bind(&path).await.err().expect("the socket is in use");
        assert_eq!(error.to_string(), "another process listens on it");
        UnixStream::connect(&path).await.expect("the first socket still listens");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn other_files_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [file, link, datagrams] = ["file", "link", "datagrams"].map(|name| folder.path().join(name));
        fs::write(&file, "content").expect("the folder is writable");
        std::os::unix::fs::symlink("nowhere", &link).expect("the folder is writable");
        let _socket = std::os::unix::net::UnixDatagram::bind(&datagrams).expect("a socket");
        for path in [&file, &link] {
            let error = UnixSocket::bind(path).await.err().expect("not a socket");
            assert_eq!(error.to_string(), "the file is not a socket");
            assert!(fs::symlink_metadata(path).is_ok());
        }
        assert!(UnixSocket::bind(&datagrams).await.is_err() && datagrams.exists());
    }

    #[tokio::test]
    async fn file_of_another_socket_is_not_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("socket");
        let first = UnixSocket::bind(&path).await.expect("a free path");
        fs::remove_file(&path).expect("the file exists");
        let second = UnixSocket::bind(&path).await.expect("a free path");
        drop(first);
        UnixStream::connect(&path).await.expect("the second socket listens");
        drop(second);
    }
}
