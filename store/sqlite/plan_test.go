package sqlite

import (
	"strings"
	"testing"
)

// TestPlans: each statement that runs often finds its rows by an index, in the
// order it needs, so that its cost does not grow with the table.
func TestPlans(t *testing.T) {
	s := openServing(t, t.TempDir(), Options{})
	for name, test := range map[string]struct{ query, index string }{
		"ready":        {sqlReady, "jobs_ready (queue=? AND client=?)"},
		"next ready":   {sqlNextReady, "jobs_ready (queue=? AND client>?)"},
		"oldest ready": {sqlOldestReady, "jobs_ready (queue=? AND client=? AND priority<?)"},
		"count ready":  {sqlCountReady, "COVERING INDEX jobs_ready"},
		"promote":      {sqlPromote, "INTEGER PRIMARY KEY"},
		"ready job":    {sqlReadyJob, "INTEGER PRIMARY KEY"},
		"take":         {sqlTake, "INTEGER PRIMARY KEY"},
		"held":         {sqlHeld, "(uuid=?)"},
		"ended":        {sqlEnded, "(uuid=?)"},
		"next lease":   {sqlNext, "(uuid=?)"},
		"set next":     {sqlSetNext, "(uuid=?)"},
		"newest":       {sqlNewest, "events_job (job=?)"},
		"open job":     {sqlOpenJob, "(uuid=?)"},
		"open log":     {sqlOpenLog, "PRIMARY KEY (client=? AND from_seq<?)"},
		"job page":     {sqlJobPage, "events_job (job=? AND seq>? AND seq<?)"},
		"log page":     {sqlLogPage, "events_log (client=? AND seq>? AND seq<?)"},
		"artifacts":    {sqlArtifactFile, "artifacts_job (job=? AND name=?)"},
		"artifact":     {sqlStoredArtifact, "artifacts_job (job=? AND name=?)"},
		"known file":   {sqlKnownFile, "(file=?)"},
		"job":          {sqlJobByUUID, "(uuid=?)"},
		"job by id":    {sqlJobByID, "INTEGER PRIMARY KEY"},
		"list":         {sqlList, "jobs_client (client=? AND rowid>? AND rowid<?)"},
		"list status":  {sqlListStatus, "jobs_status (client=? AND status=? AND rowid>? AND rowid<?)"},
		"scan":         {sqlScan, "jobs_client (client=? AND rowid>? AND rowid<?)"},
		"scan status":  {sqlScanStatus, "jobs_status (client=? AND status=? AND rowid>? AND rowid<?)"},
		"row before":   {sqlRowBefore, "(uuid<?)"},
		"row from":     {sqlRowFrom, "(uuid>?)"},
		"by key":       {sqlByKey, "jobs_idem (client=? AND idem_key=?)"},
		"key's batch":  {sqlByKey, "batches_idem (client=? AND idem_key=?)"},
		"batch":        {sqlBatchByKey, "batches_idem (client=? AND idem_key=?)"},
		"batch's key":  {sqlBatchByKey, "jobs_idem (client=? AND idem_key=?)"},
		"leave batch":  {sqlLeaveBatch, "INTEGER PRIMARY KEY"},
		"del batch":    {sqlDelBatch, "INTEGER PRIMARY KEY"},
		"due":          {sqlDue, "jobs_due"},
		"next due":     {sqlNextDue, "jobs_due"},
		"unbegun":      {sqlUnbegun, "jobs_unbegun (client=? AND expires_due>? AND expires_due<?)"},
		"next unbegun": {sqlNextUnbegun, "jobs_unbegun (client=? AND expires_due>?)"},
		"expiries":     {sqlNextExpiring, "jobs_unbegun (client>?)"},
		"usage":        {sqlUsage, "(name=?)"},
		"leases":       {sqlOpenLeases, "jobs_running"},
		"local":        {sqlLocal, "jobs_running (lease_local=?)"},
		"gone":         {sqlGone, "jobs_gone"},
		"ended long":   {sqlExpired, "jobs_ended"},
		"oldest":       {sqlOldest, "events_job (job=?)"},
		"del oldest":   {sqlDelOldest, "events_job (job=? AND seq<?)"},
		"del events":   {sqlDelEvents, "events_job (job=?)"},
		"del jobs":     {sqlDelJobs, "INTEGER PRIMARY KEY"},
		"del files":    {sqlDelArtifacts, "artifacts_job (job=?)"},
		"epoch":        {sqlEpoch, "epochs_name (client=? AND epoch=?)"},
		"epoch at":     {sqlEpochAt, "PRIMARY KEY (client=? AND from_seq<?)"},
		"next epoch":   {sqlNextEpoch, "PRIMARY KEY (client=? AND from_seq>?)"},
		"key":          {sqlKeyByHash, "(hash=?)"},
		"sealed":       {sqlSealed, "sealed_name (client=? AND kind=? AND name=?)"},
		"sealed page":  {sqlSealedPage, "sealed_name (client=? AND kind=? AND name>?)"},
		"sealed row":   {sqlSealedRow, "sealed_name (client=? AND kind=? AND name=?)"},
		"touch":        {sqlTouchKey, "(key_id=?)"},
		"session":      {sqlSession, "PRIMARY KEY (id=?)"},
		"rooms":        {sqlRooms, "PRIMARY KEY (session=? AND client=?)"},
		"in use":       {sqlTouchSession, "PRIMARY KEY (id=?)"},
		"unseen":       {sqlUnseen, "sessions_seen (seen_at<?)"},
	} {
		plan := explain(t, s, test.query)
		if !strings.Contains(plan, test.index) {
			t.Errorf("%s does not use %s:\n%s", name, test.index, plan)
		}
		if strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s sorts:\n%s", name, plan)
		}
		for line := range strings.Lines(plan) {
			// Partial indexes are walked from their end; a constant row, a bound list and the
			// rows that a subquery has chosen are no table.
			if strings.HasPrefix(line, "SCAN") && !strings.Contains(line, " USING ") && !strings.Contains(line, "CONSTANT ROW") &&
				!strings.Contains(line, "json_each") && !strings.Contains(line, "(subquery") {
				t.Errorf("%s scans a table:\n%s", name, plan)
			}
		}
	}
}

func explain(t *testing.T, s *Store, query string) string {
	t.Helper()
	rows, err := s.readerDB.Query("EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?")-max(0, strings.Count(query, "?1")-1))...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(detail + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}
