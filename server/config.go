package server

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lmittmann/tint"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action/browser"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// Config holds the settings of a server. The tags make them the flags of `jobcast serve`,
// with their defaults and their environment variables.
type Config struct {
	Addr           string         `env:"JOBCAST_ADDR" placeholder:":3000" help:"Address to listen on: host:port or unix:/path/to/socket. Port 0 picks a free port. Default: the port in PORT, or 3000."`
	BasePath       string         `name:"base-path" placeholder:"PATH" env:"JOBCAST_BASE_PATH" help:"Path prefix of every URL, for a proxy that forwards only part of a site."`
	Data           string         `default:"./data" env:"JOBCAST_DATA" type:"path" help:"Data folder; created if missing. One server per folder."`
	PingInterval   time.Duration  `default:"30s" env:"JOBCAST_PING_INTERVAL" help:"Interval of the application-level ping on WebSocket and Socket.IO."`
	PongTimeout    time.Duration  `default:"60s" env:"JOBCAST_PONG_TIMEOUT" help:"Disconnect a WebSocket or Socket.IO client that sends nothing for this long."`
	MaxConnections int            `name:"max-connections-per-key" default:"10" env:"JOBCAST_MAX_CONNECTIONS_PER_KEY,MAX_CONNECTIONS_PER_KEY" help:"Live streams per key, across all transports, unless the key has its own limit."`
	MaxPerClient   int            `name:"max-connections-per-client" default:"10000" env:"JOBCAST_MAX_CONNECTIONS_PER_CLIENT" help:"Live streams per client, across all its keys and tokens."`
	CORSOrigins    []string       `name:"cors-origins" default:"*" env:"JOBCAST_CORS_ORIGINS" help:"Web origins whose pages may call the server, comma-separated; * allows all."`
	Concurrency    int            `default:"8" env:"JOBCAST_CONCURRENCY" help:"Number of action jobs that run at the same time."`
	MaxRunning     int            `name:"max-running-per-client" default:"0" env:"JOBCAST_MAX_RUNNING_PER_CLIENT" help:"How many of those one client may run; 0 keeps an eighth, at least one, for other clients."`
	LeaseTTL       time.Duration  `name:"lease-ttl" default:"30s" env:"JOBCAST_LEASE_TTL" help:"How long a lease lasts unless it is renewed."`
	Retention      time.Duration  `default:"168h" env:"JOBCAST_RETENTION" help:"How long finished jobs and their events are kept."`
	AllowPrivate   bool           `name:"allow-private-addresses" env:"JOBCAST_ALLOW_PRIVATE_ADDRESSES" help:"Let actions reach loopback and private networks."`
	AllowHosts     []string       `name:"allow-hosts" env:"JOBCAST_ALLOW_HOSTS" placeholder:"HOST" help:"Hosts that actions may reach, comma-separated: example.com, *.example.com, addresses; without it, all."`
	DenyHosts      []string       `name:"deny-hosts" env:"JOBCAST_DENY_HOSTS" placeholder:"HOST" help:"Hosts that actions may not reach, comma-separated, even if they are allowed."`
	Browser        string         `default:"auto" env:"JOBCAST_BROWSER" help:"Chromium for browser actions: auto finds it; or the path of its program; or off."`
	Browsers       int            `default:"4" env:"JOBCAST_BROWSERS" help:"Number of jobs that may use the browser at the same time."`
	AllowEvaluate  bool           `name:"allow-evaluate" env:"JOBCAST_ALLOW_EVALUATE" help:"Let jobs run scripts of their own in pages."`
	BrowserMemory  byteSize       `name:"browser-max-memory" default:"2GiB" env:"JOBCAST_BROWSER_MAX_MEMORY" help:"Memory of the browser and all its pages; beyond it the largest page is ended."`
	BrowserBare    bool           `name:"browser-no-jail" env:"JOBCAST_BROWSER_NO_JAIL" help:"Run the browser without its jail, where the system allows none. Only for pages you trust."`
	BrowserUnsafe  bool           `name:"browser-no-sandbox" env:"JOBCAST_BROWSER_NO_SANDBOX" help:"Run the browser without its own sandbox, where the system allows none. Only for pages you trust."`
	SecretKeyFile  string         `name:"secret-key-file" placeholder:"FILE" env:"JOBCAST_SECRET_KEY_FILE" help:"File of the key that secrets and browser states are encrypted with; openssl rand -base64 32 makes one. Without it, the server keeps none."`
	TrustedProxies []netip.Prefix `name:"trusted-proxies" env:"JOBCAST_TRUSTED_PROXIES" help:"Proxies whose X-Forwarded-For is trusted: addresses and networks (CIDR), comma-separated."`
	MaxBody        byteSize       `default:"256KiB" env:"JOBCAST_MAX_BODY" help:"Largest request body."`
	MaxBatchBody   byteSize       `default:"8MiB" env:"JOBCAST_MAX_BATCH_BODY" help:"Largest body of a batch of jobs; each job in it has at most --max-body."`
	MaxJobs        int64          `name:"max-jobs-per-client" default:"100000" env:"JOBCAST_MAX_JOBS_PER_CLIENT" help:"Pending and running jobs per client."`
	MaxArtifacts   byteSize       `name:"max-artifacts-per-client" default:"10GiB" env:"JOBCAST_MAX_ARTIFACTS_PER_CLIENT" help:"Total size of the artifacts of one client."`
	MaxStorage     byteSize       `name:"max-storage" default:"0" env:"JOBCAST_MAX_STORAGE" help:"Total size of the data folder; 0 means no limit."`
	QueueTTL       time.Duration  `name:"queue-ttl" default:"0" env:"JOBCAST_QUEUE_TTL" help:"A queued job fails if no worker starts it within this time, unless the job sets its own; 0 means never."`
	ShutdownGrace  time.Duration  `default:"25s" env:"JOBCAST_SHUTDOWN_GRACE" help:"How long running jobs may go on after SIGTERM before they are handed back."`
	LogLevel       string         `default:"info" enum:"debug,info,warn,error" env:"JOBCAST_LOG_LEVEL" help:"Log level: debug, info, warn or error."`
	LogFormat      string         `default:"text" enum:"text,json" env:"JOBCAST_LOG_FORMAT" help:"Log format: text or json. Logs go to stderr."`
	SocketIOOffset string         `name:"socketio-offset" default:"event" enum:"event,argument,off" env:"JOBCAST_SOCKETIO_OFFSET" help:"How Socket.IO clients receive recovery offsets: event, in a packet of their own; argument, as the last argument of each event; off, not at all."`
	Compat         string         `default:"" enum:",nestjs" env:"JOBCAST_COMPAT" help:"nestjs: Socket.IO behaves like a NestJS gateway where the two differ, so that its clients need no change."`
	Demo           bool           `env:"JOBCAST_DEMO" help:"Run one sample job and print its live events."`
}

// Bounds of the settings: beyond them the server would not work as promised.
const (
	MaxConcurrency = 10_000
	maxConnections = 100_000
	minLeaseTTL    = 5 * time.Second
	MaxMaxBody     = 64 << 20
	maxMaxJobs     = 100_000_000
	minMaxStorage  = 64 << 20 // below it the WAL alone, which is written anew at 16 MiB, would take too much of it
	maxGrace       = time.Hour
)

const defaultAddr = ":3000"

// basePath leaves out what would have two spellings in a URL.
var basePath = regexp.MustCompile(`^(/[A-Za-z0-9_-]+){1,8}$`)

// ownPaths are the first parts of the server's own paths. A base path that began with one
// could not be told from them behind a proxy that takes it away.
var ownPaths = []string{"v1", "static", "docs", "metrics", "livez", "readyz"}

// AfterApply fills in the address. PORT is how many platforms tell a program where to
// listen.
func (s *Config) AfterApply() error {
	if s.Addr != "" {
		return nil
	}
	s.Addr = defaultAddr
	if text := strings.TrimSpace(os.Getenv("PORT")); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("the variable PORT is %q: write a port, 1 to 65535, or set JOBCAST_ADDR", text)
		}
		s.Addr = fmt.Sprint(":", port)
	}
	return nil
}

// Check refuses settings that parse but cannot work, all at once.
func (s *Config) Check() error {
	var all []error
	bad := func(ok bool, flag, want string) {
		if !ok {
			all = append(all, fmt.Errorf("--%s must be %s", flag, want))
		}
	}
	s.BasePath = strings.TrimRight(s.BasePath, "/")
	bad(s.BasePath == "" || basePath.MatchString(s.BasePath), "base-path", "as in /jobs: parts of A-Z, a-z, 0-9, underscore and hyphen, each after a slash")
	first, _, _ := strings.Cut(strings.TrimPrefix(s.BasePath, "/"), "/")
	bad(!slices.Contains(ownPaths, first), "base-path", "something else than what the server's own paths begin with")
	if path, ok := strings.CutPrefix(s.Addr, wire.UnixPrefix); ok {
		bad(strings.HasPrefix(path, "/"), "addr", "unix: and an absolute path, as in unix:/run/jobcast.sock")
	}
	bad(s.PingInterval >= time.Second, "ping-interval", "at least 1s")
	bad(s.PongTimeout >= s.PingInterval, "pong-timeout", "at least --ping-interval")
	bad(s.MaxConnections >= 1 && s.MaxConnections <= maxConnections, "max-connections-per-key", "1 to 100000")
	bad(s.MaxPerClient >= 1 && s.MaxPerClient <= maxConnections, "max-connections-per-client", "1 to 100000")
	bad(s.Concurrency >= 1 && s.Concurrency <= MaxConcurrency, "concurrency", "1 to 10000")
	bad(s.MaxRunning >= 0 && s.MaxRunning <= MaxConcurrency, "max-running-per-client", "0 to 10000")
	bad(s.LeaseTTL >= minLeaseTTL && s.LeaseTTL <= 10*time.Minute, "lease-ttl", "5s to 10m")
	bad(s.Retention >= time.Second, "retention", "at least 1s")
	bad(s.Browsers >= 1 && s.Browsers <= browser.MaxContexts, "browsers", "1 to 64")
	bad(s.BrowserMemory >= browser.MinMemory, "browser-max-memory", "at least 256MiB")
	if s.Browser != browser.Auto && s.Browser != browser.Off {
		if err := browser.CheckProgram(s.Browser); err != nil || !filepath.IsAbs(s.Browser) {
			all = append(all, fmt.Errorf("--browser must be auto, off or the path of a program; %s %w", s.Browser, cmp.Or(err, errors.New("is no absolute path"))))
		}
	}
	for flag, list := range map[string]*[]string{"allow-hosts": &s.AllowHosts, "deny-hosts": &s.DenyHosts} {
		hosts, err := jobs.ParseHosts(*list)
		if err != nil {
			all = append(all, fmt.Errorf("--%s: %w", flag, err))
		}
		*list = hosts
	}
	bad(s.MaxBody >= 1<<10 && s.MaxBody <= MaxMaxBody, "max-body", "1KiB to 64MiB")
	bad(s.MaxBatchBody >= 1<<10 && s.MaxBatchBody <= MaxMaxBody, "max-batch-body", "1KiB to 64MiB")
	bad(s.MaxJobs >= 1 && s.MaxJobs <= maxMaxJobs, "max-jobs-per-client", "1 to 100000000")
	bad(s.MaxArtifacts >= 1<<20, "max-artifacts-per-client", "at least 1MiB")
	bad(s.MaxStorage == 0 || s.MaxStorage >= minMaxStorage, "max-storage", "at least 64MiB, or 0 for none")
	bad(s.QueueTTL == 0 || s.QueueTTL >= jobs.MinExpiry && s.QueueTTL <= jobs.MaxExpiry, "queue-ttl", "1s to 8760h, or 0 for never")
	bad(s.ShutdownGrace >= 0 && s.ShutdownGrace <= maxGrace, "shutdown-grace", "0 to 1h")
	if err := errors.Join(all...); err != nil {
		return &SettingError{errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	return nil
}

// limits is what clients may fill.
func (s *Config) limits() jobs.Limits {
	return jobs.Limits{
		JobsPerClient: s.MaxJobs, ArtifactsPerClient: int64(s.MaxArtifacts), Storage: int64(s.MaxStorage), QueueTTL: s.QueueTTL,
	}
}

// Logger writes to w as the settings say.
func (s *Config) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // one of four names, checked by the parser
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, NoColor: true, TimeFormat: time.RFC3339}))
}

// byteSize is a number of bytes: 4096, 256KiB, 1MiB, 1GiB, 1TiB.
type byteSize int64

// UnmarshalText reads a size.
func (b *byteSize) UnmarshalText(text []byte) error {
	s := string(text)
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("invalid size %q, want e.g. 4096, 256KiB or 1MiB", text)
	}
	*b = byteSize(n * unit)
	return nil
}

// SettingError is a setting that parses but cannot be used.
type SettingError struct{ Err error }

func (e *SettingError) Error() string { return e.Err.Error() }

func (e *SettingError) Unwrap() error { return e.Err }

// ParseNetwork reads a network (CIDR) or a single address, which is a network of its own.
// IPv4 in IPv6 is IPv4, and a zone means nothing to a peer's address. The word unix
// stands for those who connect over the unix socket.
func ParseNetwork(text string) (netip.Prefix, bool) {
	if text == "unix" {
		return netip.PrefixFrom(transport.UnixPeer, transport.UnixPeer.BitLen()), true
	}
	address, bits, whole := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(strings.Trim(address, "[]"))
	if err != nil {
		return netip.Prefix{}, false
	}
	addr = addr.WithZone("")
	if !whole {
		bits = fmt.Sprint(addr.BitLen())
	}
	network, err := netip.ParsePrefix(addr.String() + "/" + bits)
	if err != nil {
		return netip.Prefix{}, false
	}
	const mapped = 96 // bits before the IPv4 address
	if addr.Is4In6() && network.Bits() >= mapped {
		network = netip.PrefixFrom(addr.Unmap(), network.Bits()-mapped)
	}
	return network.Masked(), true
}
