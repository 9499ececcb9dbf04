/** Media that are added and removed on one connection. */

import assert from "node:assert/strict";
import { until } from "../chromium.mjs";

/** Waits until a tab has a number of streams of its only peer, and plays them all. */
async function playsAll(tab, count) {
  await until(tab, (count) => [...mine.peers.values()][0].streams.length === count, count);
  await tab.evaluate(() => {
    const [{ streams }] = mine.peers.values();
    const videoOf = (srcObject) => Object.assign(document.createElement("video"), { muted: true, srcObject });
    globalThis.all = streams.map(videoOf);
    for (const video of all) video.play();
  });
  await until(tab, () => all.every(({ currentTime }) => currentTime > 0.3));
}

export const mediaScenarios = ({ openGroup, idOf, plays }) => ({
  async "media that both sides add and remove many times neither close the connection nor lengthen descriptions"(key) {
    const [a, b] = await openGroup(key, {}, {});
    // In turns, and at once.
    await Promise.all(
      [a, b].map((tab, index) =>
        tab.evaluate(async (index) => {
          const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
          const streamOf = await fakeStreams();
          for (let round = 0; round < 40; round++) {
            const stream = streamOf();
            mine.addStream(stream);
            await pause(((round * (index + 1)) % 5) * 40);
            mine.removeStream(stream);
            for (const track of stream.getTracks()) track.stop();
            await pause((round % 3) * 60);
          }
          mine.addStream(streamOf());
        }, index),
      ),
    );
    await plays(a, await idOf(b));
    await plays(b, await idOf(a));
    for (const tab of [a, b]) assert.equal(await tab.evaluate(() => events.length), 1, "one peerjoin, no peerleave");
    for (const tab of [a, b]) {
      const length = await tab.evaluate(() => {
        const [{ connection }] = mine.peers.values();
        return connection.localDescription.sdp.length;
      });
      assert(length < 40_000, `description has ${length} characters`);
    }
  },

  async "side that begins to send in a section while the other side stops it sends in another one"(key) {
    for (const [stops, begins] of [
      [0, 1],
      [1, 0],
    ]) {
      const tabs = await openGroup(`${key}${stops}`, {}, {});
      for (const tab of tabs) await tab.evaluate(async () => void (globalThis.streamOf = await fakeStreams()));
      // Two sections that only one side has used, and that nobody uses now.
      await tabs[stops].evaluate(() => mine.addStream((globalThis.stream = streamOf())));
      await playsAll(tabs[begins], 1);
      await tabs[stops].evaluate(() => mine.removeStream(stream));
      for (const tab of tabs) {
        await until(tab, () => {
          const [{ connection }] = mine.peers.values();
          const directions = connection.getTransceivers().map(({ currentDirection }) => currentDirection);
          return connection.signalingState === "stable" && String(directions) === "inactive,inactive";
        });
      }
      const at = Date.now() + 300;
      const addStream = (at) =>
        new Promise((resolve) => {
          const stream = streamOf();
          const add = () => (Date.now() < at ? setTimeout(add) : resolve(mine.addStream(stream)));
          add();
        });
      await Promise.all(tabs.map((tab) => tab.evaluate(addStream, at)));
      for (const tab of tabs) await playsAll(tab, 1);
      for (const tab of tabs) assert.equal(await tab.evaluate(() => events.length), 1, "one peerjoin, no peerleave");
    }
  },

  async "track of two streams is sent until both are removed"(key) {
    const [a, b] = await openGroup(key, {}, {});
    await a.evaluate(async () => {
      const streamOf = await fakeStreams();
      const [camera, screen] = [streamOf(), streamOf()];
      globalThis.share = new MediaStream([...camera.getAudioTracks(), ...screen.getVideoTracks()]);
      mine.addStream((globalThis.camera = camera));
      mine.addStream(share);
    });
    await playsAll(b, 2);
    const liveKinds = () => {
      const [{ streams }] = mine.peers.values();
      const live = streams.flatMap((stream) => stream.getTracks()).filter(({ readyState }) => readyState === "live");
      return String(live.map(({ kind }) => kind).sort());
    };
    assert.equal(await b.evaluate(liveKinds), "audio,video,video");
    await a.evaluate(() => mine.removeStream(camera));
    await until(b, () => {
      const [{ streams }] = mine.peers.values();
      return streams.length === 1 && streams[0].getTracks().length === 2;
    });
    await playsAll(b, 1);
    await a.evaluate(() => mine.removeStream(share));
    await until(b, () => [...mine.peers.values()][0].streams.length === 0);
  },
});
