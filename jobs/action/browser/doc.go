// Package browser runs actions in Chromium, without trusting it or any page.
//
// One Chromium process serves all jobs. It starts with the first job that needs it, ends
// when it was idle for some minutes, and is replaced when it dies. Each attempt of a job
// has a browser context of its own in it, with its cookies, its storage and its proxy.
//
// Chromium runs as another user when this process is root, with its own sandbox on, inside
// a jail that bubblewrap makes: it sees its program and libraries, fonts and certificates,
// and none of the host's processes, files, sockets or networks. In the jail's network
// there is nothing but loopback, and there a listener for each context, which this process
// accepts from. Behind each stands a proxy that connects with the same guard as all actions.
package browser
