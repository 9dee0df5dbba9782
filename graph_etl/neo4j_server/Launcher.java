import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;

/**
 * Runs Neo4j Community with its files in HOME, for Bolt on loopback: Launcher HOME PORT PAGE_CACHE_MB.
 *
 * The first start sets the password of HOME/password before anything listens. Prints READY.
 */
public class Launcher {
    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Path initialised = home.resolve("initialised");
        if (!Files.exists(initialised)) {
            DatabaseManagementService silent = service(arguments, false);
            silent.database("system").executeTransactionally(
                "ALTER USER neo4j SET PASSWORD $password CHANGE NOT REQUIRED",
                Map.of("password", Files.readString(home.resolve("password")).strip()));
            silent.shutdown();
            Files.createFile(initialised);
        }
        DatabaseManagementService service = service(arguments, true);
        Runtime.getRuntime().addShutdownHook(new Thread(service::shutdown));
        System.out.println("READY");
    }

    private static DatabaseManagementService service(String[] arguments, boolean listening) {
        int port = Integer.parseInt(arguments[1]);
        return new DatabaseManagementServiceBuilder(Path.of(arguments[0]))
            .setConfig(GraphDatabaseSettings.auth_enabled, true)
            .setConfig(GraphDatabaseSettings.allow_file_urls, false)
            .setConfig(GraphDatabaseSettings.pagecache_memory, Long.parseLong(arguments[2]) << 20)
            .setConfig(
                GraphDatabaseSettings.transaction_monitor_check_interval, Duration.ofMillis(200))
            .setConfig(BoltConnector.enabled, listening)
            .setConfig(BoltConnector.listen_address, new SocketAddress("127.0.0.1", port))
            .build();
    }
}
