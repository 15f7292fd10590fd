// Package crash proves on the real program that no crash and no lost answer breaks a promise.
//
// Its tests run the built program against a real Vault, a real PostgreSQL, a real nats-server and the OpenWhisk emulator.
// Every request of a process goes through a proxy of its own, which knows each write to one of the three systems by name.
//
// The matrix first records a rotation: the list of its writes. Then it runs one rotation for every write, every fault (not
// applied; applied, and the answer lost) and every way to go on (the process itself; killed and restarted; killed, and
// another replica takes over). After every write, and at the end, it logs in to PostgreSQL and Vault with what each target
// holds at that moment. A write that somebody adds to the product is recorded like the others and cannot be forgotten.
//
// An ordinary test run takes a random sample of the cases; -whole takes all of them, as CI does.
//
// The frozen-replica test stops a process (SIGSTOP) in every state until another has finished, and lets it go on. The soak
// kills processes at random moments for as long as it is told: -soak.time=5m, or -soak.kills=1000.
package crash
