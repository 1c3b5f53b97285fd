#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
'use strict';

// @grpc/grpc-js acts as the kubelet. See kubelet.py for the arguments and for what each case means;
// grpc-python.py has the same cases.

const { spawn, spawnSync } = require('child_process');
const { parseArgs, isDeepStrictEqual } = require('util');
const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const PROTO = path.join(process.env.GPUSLICE_SOURCE || path.join(__dirname, '../../..'), 'proto');
const { v1beta1 } = grpc.loadPackageDefinition(
  protoLoader.loadSync(path.join(PROTO, 'deviceplugin/v1beta1/api.proto'), { keepCase: true }));
const MIB = 1 << 20;
const { status } = grpc;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { skip: { type: 'string', default: '' }, update: { type: 'string', default: '' },
             'rss-mb': { type: 'string' } },
});
const [folder, ...targetWords] = positionals;
const skipped = new Set(options.skip.split(','));
if (!options.update)
  skipped.add('update');

const inDeadline = (ms) => ({ deadline: Date.now() + ms });
const expect = (condition, text) => {
  if (!condition)
    throw new Error(text);
};

// ---- the kubelet ----

const kubeletSocket = path.join(folder, 'kubelet.sock');
const registrations = [];
let onRegistration = () => {};
let server, target, targetEnd, endpoint, terminated = false;

function register(call, done) {
  registrations.push(call.request);
  done(null, {});
  onRegistration();
}

async function serve() {
  fs.rmSync(kubeletSocket, { force: true });
  server = new grpc.Server();
  server.addService(v1beta1.Registration.service, { Register: register });
  await new Promise((resolve, reject) => server.bindAsync(
    'unix:' + kubeletSocket, grpc.ServerCredentials.createInsecure(),
    (error) => error ? reject(error) : resolve()));
}

async function waitForRegistration() {
  if (registrations.length === 0) {
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nothing registered within 20 s')), 20000);
      onRegistration = () => { clearTimeout(timer); resolve(); };
    });
    onRegistration = () => {};
  }
  const request = registrations.shift();
  expect(request.version === 'v1beta1' && request.resource_name.includes('/'), JSON.stringify(request));
  endpoint = path.join(folder, request.endpoint);
  expect(fs.existsSync(endpoint), endpoint);
}

function startTarget() {
  const [program, ...rest] = targetWords.map((word) => word.replaceAll('{dir}', folder));
  target = spawn(program, rest, { stdio: ['ignore', 'inherit', 'inherit'] });
  targetEnd = new Promise((resolve) => target.on('exit', (code, signal) => resolve(signal || code)));
}

function terminate() {
  if (!terminated)
    target.kill('SIGTERM');
  terminated = true;
}

// ---- calls ----

async function use(f, more = {}) {
  const client = new v1beta1.DevicePlugin('unix:' + endpoint, grpc.credentials.createInsecure(),
    { 'grpc.use_local_subchannel_pool': 1, 'grpc.max_send_message_length': -1, ...more });
  try {
    return await f(client);
  } finally {
    client.close();
  }
}

// Resolves to {code, answer}: an error status is an outcome here.
const call = (client, method, request, ms = 20000) => new Promise((resolve) =>
  client[method](request, inDeadline(ms), (error, answer) => resolve({ code: error ? error.code : 0, answer, error })));

async function good(client, method, request, ms) {
  const { code, answer, error } = await call(client, method, request, ms);
  expect(code === status.OK, String(error));
  return answer;
}

const raw = (client, name, bytes) => new Promise((resolve) => client.makeUnaryRequest(
  name, (b) => b, (b) => b, bytes, inDeadline(20000), (error) => resolve(error ? error.code : 0)));

// One unknown field of n bytes: every target skips over it.
function filler(n) {
  const length = [];
  let rest = n;
  for (; rest > 127; rest >>= 7)
    length.push(rest & 127 | 128);
  return Buffer.concat([Buffer.from([0xfa, 0x7f, ...length, rest]), Buffer.alloc(n)]);
}

// A watch with its lists and its end as promises.
function watch(client, ms = 20000) {
  const lists = [], waiting = [];
  const stream = client.ListAndWatch({}, inDeadline(ms));
  const end = new Promise((resolve) => {
    stream.on('error', (error) => resolve(error.code));
    stream.on('end', () => resolve(status.OK));
  });
  stream.on('data', (list) => waiting.length ? waiting.shift()(list) : lists.push(list));
  const next = () => lists.length ? lists.shift() : Promise.race([
    new Promise((resolve) => waiting.push(resolve)),
    end.then((code) => { throw new Error(`the watch ended with ${code}`); })]);
  return { next, end, cancel: () => stream.cancel() };
}

async function devices(client) {
  const one = watch(client);
  const list = await one.next();
  one.cancel();
  const ids = list.devices.filter((d) => d.health === 'Healthy').map((d) => d.ID);
  expect(ids.length >= 4, `only ${ids.length} devices`);
  return ids;
}

const requestOf = (...ids) => ({ container_requests: ids.map((id) => ({ devices_ids: [id] })) });
const sendUpdate = () => spawnSync('sh', ['-c', options.update.replaceAll('{pid}', target.pid)]);
const getOptions = (client) => good(client, 'GetDevicePluginOptions', {}, 5000);
const OPTIONS = '/v1beta1.DevicePlugin/GetDevicePluginOptions';

// ---- cases ----

const cases = {
  'options': () => use(getOptions),
  'watch': () => use(devices),

  'update': () => use(async (client) => {
    const one = watch(client);
    const first = await one.next();
    sendUpdate();
    expect(!isDeepStrictEqual(await one.next(), first), 'the same list again');
    sendUpdate();
    expect(isDeepStrictEqual(await one.next(), first), 'not the first list again');
    one.cancel();
  }),

  'allocate': () => use(async (client) => {
    const ids = await devices(client);
    const answer = await good(client, 'Allocate', requestOf(ids[0], ids[1]));
    expect(answer.container_responses.length === 2, JSON.stringify(answer));
  }),

  'prefer': () => use(async (client) => {
    const ids = (await devices(client)).slice(0, 4);
    const answer = await good(client, 'GetPreferredAllocation',
      { container_requests: [{ available_deviceIDs: ids, allocation_size: 2 }] });
    expect(answer.container_responses[0].deviceIDs.length === 2, JSON.stringify(answer));
  }),

  'cancel': () => use(async (client) => {
    const watches = Array.from({ length: 20 }, () => watch(client));
    for (const one of watches)
      await one.next();
    for (const one of watches) {
      one.cancel();
      expect(await one.end === status.CANCELLED, 'not cancelled');
    }
    await getOptions(client);
  }),

  'deadline of a stream': () => use(async (client) => {
    const code = await watch(client, 500).end;
    expect(code === status.DEADLINE_EXCEEDED, `ended with ${code}`);
  }),

  'slow': () => use(async (client) => {
    const { code } = await call(client, 'Allocate', requestOf('slow'), 300);
    expect(code === status.DEADLINE_EXCEEDED, `ended with ${code}`);
  }),

  '2000 calls in flight': () => use(async (client) => {
    const [id] = await devices(client);
    await Promise.all(Array.from({ length: 2000 }, () => good(client, 'Allocate', requestOf(id), 60000)));
  }),

  '90 watches': () => use(async (client) => {
    const watches = Array.from({ length: 90 }, () => watch(client));
    await Promise.all(watches.map((one) => one.next()));
    watches.forEach((one) => one.cancel());
    await Promise.all(watches.map((one) => one.end));
  }),

  'message of 3 MiB': () => use(async (client) => {
    const code = await raw(client, OPTIONS, filler(3 * MIB));
    expect(code === status.OK, `ended with ${code}`);
  }),

  'message of 5 MiB': () => use(async (client) => {
    const code = await raw(client, OPTIONS, filler(5 * MIB));
    expect(code === status.RESOURCE_EXHAUSTED, `ended with ${code}`);
    await getOptions(client);
  }),

  'unknown method': () => use(async (client) => {
    for (const name of ['/v1beta1.DevicePlugin/Nonsense', '/no.Service/Allocate']) {
      const code = await raw(client, name, Buffer.alloc(0));
      expect(code === status.UNIMPLEMENTED, `ended with ${code}`);
    }
  }),

  'compressed request': () => use(async (client) => {
    const code = await raw(client, OPTIONS, filler(10000));
    expect(code === status.UNIMPLEMENTED, `ended with ${code}`);
  }, { 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip }),

  // Kubelets before 1.26 dial so.
  'path as authority': () => use(getOptions, { 'grpc.default_authority': endpoint }),

  '200 connections': async () => {
    for (let i = 0; i < 200; i++)
      await use(getOptions);
  },

  'restart': async () => {
    server.forceShutdown();
    registrations.length = 0;
    await serve();
    const began = Date.now();
    await waitForRegistration();
    expect(Date.now() - began < 2000, 'registered again too late');
    await use(getOptions);
  },

  'stop with an open watch': () => use(async (client) => {
    const one = watch(client);
    await one.next();
    terminate();
    const code = await one.end;
    expect(code === status.UNAVAILABLE, `ended with ${code}`);
  }),

  'stop': async () => {
    terminate();
    const end = await targetEnd;
    expect(end === 0, `the target ended with ${end}`);
    expect(!fs.existsSync(endpoint), `${endpoint} was left behind`);
  },
};

async function run(name, f) {
  if (skipped.has(name)) return true; // no case of this target's, and so none that was skipped
  try {
    await f();
    console.log(`ok - grpc-js: ${name}`);
    return true;
  } catch (error) {
    console.log(`not ok - grpc-js: ${name}\n  ${error.stack}`);
    return false;
  }
}

async function main() {
  await serve();
  startTarget();
  let passed = await run('register', waitForRegistration);
  for (const [name, f] of passed ? Object.entries(cases) : [])
    passed = await run(name, f) && passed;
  target.kill('SIGKILL');
  process.exit(passed ? 0 : 1);
}

main();
