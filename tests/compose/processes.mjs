// The same services as processes, where no engine can run: with the environment that the compose tool read from the
// file, the commands of the Dockerfile, each in a network namespace of its own on one bridge.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const NETWORK = '10.78.0'
const UID = 10001
const SPACES = process.env.COMPOSE_PROJECT_NAME
const { services } = JSON.parse(readFileSync(process.env.COMPOSE_JSON, 'utf8'))
const dockerfile = readFileSync(new URL('../../Dockerfile', import.meta.url), 'utf8')

/** What the image says, as the list that it is written as. */
const said = instruction => JSON.parse(new RegExp(`^${instruction}\\b[^\\[\\n]*(\\[.*\\])$`, 'm').exec(dockerfile)[1])
const imageEnvironment = Object.fromEntries(
  /^ENV (.*)$/m.exec(dockerfile)[1].split(' ').map(pair => pair.split('=')),
)
const seconds = text => Number(/^(\d+)s$/.exec(text)[1])

const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] })

/** One service: a namespace, a folder and a process. */
class Place {
  constructor(name, number, folder) {
    this.name = name
    this.number = number
    this.address = `${NETWORK}.${number}`
    this.space = `${SPACES}-${name}`
    this.wire = `wire${number}`
    this.folder = join(folder, name)
    mkdirSync(this.folder)
    chownSync(this.folder, UID, UID)
  }

  lay(hosts) {
    ip('netns', 'add', this.space)
    ip('link', 'add', this.wire, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.space)
    ip('link', 'set', this.wire, 'master', 'br0', 'up')
    ip('-n', this.space, 'addr', 'add', `${this.address}/24`, 'dev', 'eth0')
    ip('-n', this.space, 'link', 'set', 'eth0', 'up')
    ip('-n', this.space, 'link', 'set', 'lo', 'up')
    // `ip netns exec` shows these in the place of the machine's own.
    mkdirSync(`/etc/netns/${this.space}`, { recursive: true })
    writeFileSync(`/etc/netns/${this.space}/hosts`, hosts)
    writeFileSync(`/etc/netns/${this.space}/resolv.conf`, 'nameserver 127.0.0.1\n')
  }

  get isGame() {
    return this.name.startsWith('game')
  }

  get environment() {
    const own = Object.fromEntries(Object.entries(services[this.name].environment ?? {}).map(([name, value]) => [name, String(value ?? '')]))
    const image = this.isGame ? { ...imageEnvironment, DATA_DIR: this.folder } : {}
    return { PATH: `${dirname(process.env.SERVERV2_BIN)}:${process.env.PATH}:/usr/sbin`, ...image, ...own }
  }

  get command() {
    if (this.isGame) return [...said('ENTRYPOINT'), ...(services[this.name].command ?? said('CMD'))]
    if (this.name === 'balancer') return ['haproxy', '-W', '-db', '-f', services.balancer.volumes[0].split(':')[0]]
    return services[this.name].command.map(word => (word === '/data' ? this.folder : word))
  }

  inside(command) {
    const user = ['--reuid', UID, '--regid', UID, '--clear-groups', '--bounding-set', '-all', '--inh-caps', '-all', '--no-new-privs']
    // It ends with this test, however that ends.
    const owned = ['setpriv', '--pdeathsig', 'KILL', ...(this.isGame ? user.map(String) : [])]
    const files = services[this.name].ulimits?.nofile
    const limit = files ? ['prlimit', `--nofile=${files}`] : []
    return ['netns', 'exec', this.space, ...limit, ...owned, ...command]
  }

  start() {
    this.child = spawn('ip', this.inside(this.command), { env: this.environment, cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] })
    this.log = ''
    this.child.stderr.on('data', text => (this.log = (this.log + text).slice(-20_000)))
    this.asked = false
    this.ended = new Promise(resolve => this.child.once('exit', code => resolve(code)))
    this.ended.then(code => this.asked || console.error(`${this.name} ended by itself with ${code}:\n${this.log}`))
  }

  /** `ip netns exec` and `setpriv` become the program, so the child is it. */
  signal(name) {
    this.asked ||= name !== 'SIGSTOP' && name !== 'SIGCONT'
    this.child?.kill(name)
  }

  clear() {
    spawnSync('ip', ['netns', 'del', this.space])
    rmSync(`/etc/netns/${this.space}`, { recursive: true, force: true })
  }
}

export class Processes {
  #folder
  #places = new Map()

  static async up() {
    const stage = new Processes()
    process.once('exit', () => stage.#clear())
    try {
      stage.#lay()
    } catch (error) {
      await stage.down()
      throw error
    }
    return stage
  }

  #lay() {
    this.#folder = mkdtempSync(join(tmpdir(), 'serverv2-compose-'))
    execFileSync('chmod', ['755', this.#folder])
    const names = Object.keys(services).filter(name => !services[name].profiles)
    names.forEach((name, at) => this.#places.set(name, new Place(name, at + 1, this.#folder)))
    const places = [...this.#places.values()]
    const hosts = ['127.0.0.1 localhost', ...places.map(place => `${place.address} ${place.name}`), ''].join('\n')
    // This process has a network namespace of its own (run.sh), in which nothing is but what is made here.
    ip('link', 'set', 'lo', 'up')
    ip('link', 'add', 'br0', 'type', 'bridge')
    ip('addr', 'add', `${NETWORK}.254/24`, 'dev', 'br0')
    ip('link', 'set', 'br0', 'up')
    for (const place of places) place.lay(hosts)
    for (const place of places) place.start()
    this.url = `http://${this.#places.get('balancer').address}:8080`
  }

  #clear() {
    for (const place of this.#places.values()) {
      place.signal('SIGKILL')
      place.clear()
    }
    this.#places.clear()
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true })
  }

  async down() {
    for (const place of this.#places.values()) {
      place.signal('SIGKILL')
      await place.ended
    }
    this.#clear()
  }

  /** What there is to be seen when something is wrong. */
  async logs() {
    return [...this.#places.values()].map(({ name, log }) => `${name}:\n${log.slice(-4_000)}`).join('\n')
  }

  async exec(service, command) {
    const place = this.#place(service)
    const { status, stdout, stderr } = spawnSync('ip', place.inside(command), { env: place.environment, encoding: 'utf8' })
    return { code: status, out: stdout.trim(), err: stderr.trim() }
  }

  async healthy(service) {
    const check = JSON.parse(/^HEALTHCHECK .*CMD (\[.*\])$/m.exec(dockerfile)[1])
    return (await this.exec(service, check)).code === 0
  }

  async kill(service) {
    this.#place(service).signal('SIGKILL')
    await this.#place(service).ended
  }

  async start(service) {
    this.#place(service).start()
  }

  async stop(service) {
    const place = this.#place(service)
    place.signal('SIGTERM')
    const patience = setTimeout(() => place.signal('SIGKILL'), 1_000 * seconds(services[service].stop_grace_period))
    const code = await place.ended
    clearTimeout(patience)
    return code ?? 137
  }

  async pause(service) {
    this.#place(service).signal('SIGSTOP')
  }

  async unpause(service) {
    this.#place(service).signal('SIGCONT')
  }

  async cut(service) {
    ip('link', 'set', this.#place(service).wire, 'down')
  }

  async join(service) {
    ip('link', 'set', this.#place(service).wire, 'up')
  }

  async user(service) {
    const status = readFileSync(`/proc/${this.#place(service).child.pid}/status`, 'utf8')
    const field = name => new RegExp(`^${name}:\\s*(\\w+)`, 'm').exec(status)?.[1]
    // Only an engine can mount the root of a container read-only.
    return { uid: Number(field('Uid')), readOnly: services[service].read_only, capabilities: parseInt(field('CapEff'), 16) }
  }

  #place(service) {
    return this.#places.get(service)
  }
}
