// When a component ends: shared by all that must clean up.
//
// Streamlit calls a component's clean-up when it unmounts it, and (1.67) also while it stays: each new `data` runs the
// script again, and when two come so close that the first still waits for its import, the clean-up of the first is
// called although the second goes on. Then `root` is still in the page and nothing may end: ended and begun again on the
// same root, the gallery once heard every key twice.

function ending(root, close) {
  return () => {
    if (!root.isConnected) close();
  };
}
