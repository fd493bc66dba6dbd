// What an engineer of a platform does with fhir-kit-client, as its manual shows it. Prints one JSON object.
// Needs GATEWAY (the FHIR base), TOKEN, and NODE_PATH with the client in it.
'use strict';
const Client = require('fhir-kit-client');

const client = new Client({ baseUrl: process.env.GATEWAY, bearerToken: process.env.TOKEN });
const statusOf = (resource) => Client.httpFor(resource).response.status;
const headerOf = (resource, name) => Client.httpFor(resource).response.headers.get(name);

async function refused(work) {
  try {
    await work();
    return null;
  } catch (error) {
    return { status: error.response.status, type: error.response.data.resourceType, text: error.response.data.issue[0].details.text };
  }
}

async function paged() {
  const ids = [];
  let bundle = await client.search({ resourceType: 'Observation', searchParams: { _count: 20, status: 'final' } });
  let pages = 0;
  while (bundle) {
    pages += 1;
    ids.push(...(bundle.entry || []).filter((one) => one.search.mode === 'match').map((one) => one.resource.id));
    bundle = bundle.link.some((one) => one.relation === 'next') ? await client.nextPage({ bundle }) : null;
  }
  return { pages, ids };
}

async function written() {
  const options = { headers: { 'If-None-Exist': 'identifier=urn:kit|1' } };
  const body = { resourceType: 'Organization', name: '一院', identifier: [{ system: 'urn:kit', value: '1' }] };
  const made = await client.create({ resourceType: 'Organization', body, options });
  const again = await client.create({ resourceType: 'Organization', body, options });
  const place = { resourceType: 'Organization', id: made.id };
  const guard = (etag) => ({ headers: { 'If-Match': etag } });
  const updated = await client.update({ ...place, body: { ...made, name: '二院' }, options: guard(headerOf(made, 'etag')) });
  const stale = await refused(() => client.update({ ...place, body: { ...made, name: '三院' }, options: guard('W/"1"') }));
  const JSONPatch = [{ op: 'replace', path: '/name', value: '四院' }];
  const patched = await client.patch({ ...place, JSONPatch, options: guard(headerOf(updated, 'etag')) });
  const first = await client.vread({ ...place, version: '1' });
  const past = await client.history(place);
  await client.delete(place);
  const gone = await refused(() => client.read(place));
  return {
    created: [statusOf(made), statusOf(again), again.id === made.id], updated: updated.name, stale,
    patched: patched.name, first: first.name, versions: past.entry.map((one) => one.resource.meta.versionId), gone,
  };
}

async function transacted() {
  const urn = 'urn:uuid:0b1d3d2a-0f0e-4e55-a1c7-54a0a3f7d001';
  const body = {
    resourceType: 'Bundle', type: 'transaction',
    entry: [
      { fullUrl: urn, resource: { resourceType: 'Organization', name: '卫生院' }, request: { method: 'POST', url: 'Organization' } },
      { resource: { resourceType: 'Location', managingOrganization: { reference: urn } }, request: { method: 'POST', url: 'Location' } },
    ],
  };
  const done = await client.transaction({ body });
  const [type, id] = done.entry[1].response.location.split('/');
  const location = await client.read({ resourceType: type, id });
  const organization = await client.resolve({ reference: location.managingOrganization.reference });
  const read = { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: 'Organization?name=卫生院' } }] };
  const batch = await client.batch({ body: read });
  return { statuses: done.entry.map((one) => one.response.status), organization: organization.name, found: batch.entry[0].resource.entry.length };
}

async function main() {
  const capability = await client.capabilityStatement();
  const patients = await client.search({ resourceType: 'Patient', searchParams: { name: 'zhangshen' } });
  const patient = patients.entry[0].resource;
  const read = await client.read({ resourceType: 'Patient', id: patient.id });
  const everything = await client.operation({ name: '$everything', resourceType: 'Patient', id: patient.id, method: 'GET' });
  const last = await client.operation({
    name: '$lastn', resourceType: 'Observation', method: 'GET', input: { patient: patient.id, max: 1 },
  });
  const within = await client.compartmentSearch({
    resourceType: 'Observation', compartment: { resourceType: 'Patient', id: patient.id }, searchParams: { _count: 5 },
  });
  const types = await client.systemSearch({ searchParams: { _type: 'Patient,Organization', _count: 3 } });
  console.log(JSON.stringify({
    fhir: capability.fhirVersion, name: read.name[0].text, ...(await paged()),
    everything: everything.entry.length, first: everything.entry[0].resource.resourceType, last: last.entry.length,
    within: within.entry.length, types: [...new Set(types.entry.map((one) => one.resource.resourceType))],
    written: await written(), transacted: await transacted(),
    wrong: await refused(() => client.search({ resourceType: 'Patient', searchParams: { nmae: 'x' } })),
    missing: await refused(() => client.read({ resourceType: 'Patient', id: 'nobody' })),
  }));
}

main().catch((error) => {
  console.error(error.stack || error, error.response && JSON.stringify(error.response.data));
  process.exit(1);
});
